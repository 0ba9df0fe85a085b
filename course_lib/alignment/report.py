"""placeholder"""
def write_card(out):
    return out

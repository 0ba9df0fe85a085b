"""Answers to the exercises of lesson 28, written from their statements alone."""

import io
import struct

import torch

from tests.lab.checks.answers.table import Answers, Slip

# --- read_string ---


def string_by_from_bytes(data, at):
    begin = at + 8
    end = begin + int.from_bytes(data[at:begin], "little")
    return str(data[begin:end], "utf-8"), end


def string_by_unpack_from(data, at):
    n = struct.unpack_from("<Q", data, at)[0]
    (text,) = struct.unpack_from(f"{n}s", data, at + 8)
    return text.decode("utf-8"), at + struct.calcsize("<Q") + n


def string_by_a_stream(data, at):
    stream = io.BytesIO(data)
    stream.seek(at)
    n = sum(byte << 8 * i for i, byte in enumerate(stream.read(8)))
    text = stream.read(n).decode()
    return text, stream.tell()


def string(
    head="<Q",
    skip=8,
    length=lambda n: n,
    decode=bytes.decode,
    returned=lambda text, at, n: (text, at + 8 + n),
    begin=lambda at: at,
):
    """A right answer but for the length, the place of the text, its letters, or the end."""

    def read_string(data, at):
        first = begin(at)
        size = struct.calcsize(head)
        n = length(struct.unpack(head, data[first : first + size])[0])
        text = decode(data[first + skip : first + skip + n])
        return returned(text, first, n)

    return read_string


def string_that_counts_letters(data, at):
    (n,) = struct.unpack("<Q", data[at : at + 8])
    text = data[at + 8 :].decode(errors="ignore")[:n]
    return text, at + 8 + n


def string_to_the_end(data, at):
    (n,) = struct.unpack("<Q", data[at : at + 8])
    return data[at + 8 :].decode(errors="ignore"), at + 8 + n


def string_that_ends_too_early(data, at):
    (n,) = struct.unpack("<Q", data[at : at + 8])
    return data[at + 8 : n].decode(errors="ignore"), at + 8 + n


def string_whose_end_counts_letters(data, at):
    text, _ = string_by_from_bytes(data, at)
    return text, at + 8 + len(text)


READ_STRING = Answers(
    right=[string_by_from_bytes, string_by_unpack_from, string_by_a_stream],
    wrong=[
        Slip(string(head=">Q"), "the highest byte first", r"low|little|order|<Q|highest"),
        Slip(string(head="<I", skip=4), "a length of four bytes", r"8 bytes|eight|four|4 bytes"),
        Slip(
            string(head="<B"), "one byte of the length", r"8 bytes|eight|<Q|one byte|\b1 byte|255"
        ),
        Slip(
            string(returned=lambda text, at, n: (text, 8 + n)),
            "the end counts from the beginning of the string",
            r"\bat\b|position|begin|from the start",
        ),
        Slip(
            string(returned=lambda text, at, n: (text, at + n)),
            "the end forgets the length's bytes",
            r"8 bytes|eight|length|\+ 8",
        ),
        Slip(
            string(returned=lambda text, at, n: (text, at + 7 + n)),
            "the last byte, not the one behind it",
            r"behind|last|first byte|one (too|before)",
        ),
        Slip(string(decode=lambda b: b), "bytes that are not decoded", r"decode|str|bytes"),
        Slip(
            string(decode=lambda b: b.decode("latin-1")),
            "each byte becomes a letter",
            r"UTF|latin|letter|decode",
        ),
        Slip(
            string(decode=lambda b: b.decode("ascii", errors="ignore")),
            "letters outside ASCII are lost",
            r"UTF|ASCII|letter|decode",
        ),
        Slip(string_that_counts_letters, "as many letters as the length", r"bytes|letter|charact"),
        Slip(
            string_whose_end_counts_letters,
            "the end by the number of letters",
            r"bytes|letter|charact",
        ),
        Slip(string_to_the_end, "the text runs to the end of the data", r"length|long|end|behind"),
        Slip(
            string_that_ends_too_early,
            "a slice that ends at the length",
            r"at \+ 8|end|slice|empty|begin",
        ),
        Slip(string(begin=lambda at: 0), "always the first string", r"\bat\b|position|first|begin"),
        Slip(
            string(returned=lambda text, at, n: text),
            "the text without the end",
            r"pair|two|tuple|position|both",
        ),
        Slip(
            string(returned=lambda text, at, n: (at + 8 + n, text)),
            "the end before the text",
            r"order|first|text and|then",
        ),
        Slip(
            string(returned=lambda text, at, n: None), "nothing is returned", r"return|None|nothing"
        ),
        Slip(
            string(decode=lambda b: b.decode().strip()),
            "blanks around the text are cut",
            r"blank|space|strip|cut",
        ),
        Slip(
            string(length=lambda n: n - 1, returned=lambda text, at, n: (text, at + 9 + n)),
            "the last byte is taken for a zero that ends the string",
            r"last|zero|short|all|whole|miss",
        ),
        Slip(
            string(returned=lambda text, at, n: (text, n)),
            "the length in place of the end",
            r"length|position|behind",
        ),
    ],
)

# --- dequantize_block ---


def block_by_index(block):
    scale, least = struct.unpack("<ee", block[0:4])
    weights = [0.0] * 32
    for j in range(16):
        weights[j] = least + scale * (block[4 + j] % 16)
        weights[j + 16] = least + scale * (block[4 + j] // 16)
    return weights


def block_by_torch(block):
    raw = torch.frombuffer(bytearray(block), dtype=torch.uint8)
    scale, least = raw[:4].view(torch.float16).float()
    codes = torch.cat([raw[4:] & 0xF, raw[4:] >> 4])
    return (scale * codes + least).tolist()


def block_by_hex_digits(block):
    (d,), (m,) = struct.unpack_from("<e", block, 0), struct.unpack_from("<e", block, 2)
    digits = block[4:20].hex()
    return [m + d * int(digit, 16) for digit in digits[1::2] + digits[::2]]


def dequantized(
    head="<2e",
    codes=lambda b: [x & 15 for x in b] + [x >> 4 for x in b],
    weight=lambda d, m, q: d * q + m,
    first=4,
    returned=list,
):
    """A right answer but for the scales, the codes, the formula, or what is returned."""

    def dequantize_block(block):
        d, m = struct.unpack(head, block[: struct.calcsize(head)])
        return returned([weight(d, m, q) for q in codes(block[first:20])])

    return dequantize_block


DEQUANTIZE_BLOCK = Answers(
    right=[block_by_index, block_by_torch, block_by_hex_digits],
    wrong=[
        Slip(
            dequantized(codes=lambda b: [q for x in b for q in (x & 15, x >> 4)]),
            "the halves of each byte are neighbours",
            r"neighbour|j \+ 16|low .*then|16 apart|interleav|side by side",
        ),
        Slip(
            dequantized(codes=lambda b: [x >> 4 for x in b] + [x & 15 for x in b]),
            "the high halves first",
            r"low|high|first",
        ),
        Slip(
            dequantized(codes=lambda b: [q for x in b for q in (x >> 4, x & 15)]),
            "the halves are neighbours, the high one first",
            r"neighbour|j \+ 16|interleav|low|high|side by side",
        ),
        Slip(
            dequantized(weight=lambda d, m, q: d * q),
            "the least weight is not added",
            r"least|\+ ?m|\bm\b",
        ),
        Slip(
            dequantized(weight=lambda d, m, q: d * (q + m)),
            "the least weight is scaled as well",
            r"least|scale|\bm\b|bracket",
        ),
        Slip(
            dequantized(weight=lambda d, m, q: d * q - m),
            "the least weight is subtracted",
            r"least|add|subtract|sign|\bm\b",
        ),
        Slip(
            dequantized(weight=lambda d, m, q: m * q + d),
            "scale and least weight change places",
            r"scale|least|order|first|swap|place",
        ),
        Slip(
            dequantized(weight=lambda d, m, q: d * (q - 8) + m),
            "the code is centred by 8",
            r"8|centre|sign|Q4_0|code",
        ),
        Slip(
            dequantized(weight=lambda d, m, q: d * (q - 8)),
            "centred by 8, as Q4_0 has it",
            r"8|centre|sign|Q4_0|least",
        ),
        Slip(
            dequantized(weight=lambda d, m, q: d * (q - 16 * (q > 7)) + m),
            "the codes have a sign",
            r"sign|negative|0 to 15|15",
        ),
        Slip(
            dequantized(head=">2e"),
            "float16 with its high byte first",
            r"order|low|little|<2e|byte",
        ),
        Slip(
            dequantized(head="<2h"),
            "the two numbers read as whole numbers",
            r"float16|float|whole|\be\b",
        ),
        Slip(
            dequantized(head="<2f", first=8, codes=lambda b: [x & 15 for x in b] * 2),
            "float32 in place of float16",
            r"float16|2 bytes|32 weights|4 bytes",
        ),
        Slip(
            dequantized(codes=lambda b: [x & 15 for x in b]),
            "the low halves alone",
            r"32|high|half|halves",
        ),
        Slip(dequantized(codes=list), "each byte is one code", r"32|16|half|halves|4 bits"),
        Slip(
            dequantized(codes=lambda b: [x & 15 for x in b] + [x & 240 for x in b]),
            "the high half is not shifted",
            r"shift|>> ?4|16 times|high",
        ),
        Slip(
            dequantized(codes=lambda b: [x & 7 for x in b] + [x >> 4 for x in b]),
            "a mask of three bits",
            r"15|4 bits|four bits|mask|low",
        ),
        Slip(
            dequantized(
                first=0, codes=lambda b: [x & 15 for x in b[:16]] + [x >> 4 for x in b[:16]]
            ),
            "the scales' bytes are read as codes",
            r"first|byte 4|behind|scales|4:",
        ),
        Slip(
            dequantized(returned=lambda weights: [round(w, 2) for w in weights]),
            "weights rounded to two digits",
            r"round|exact|off|differ",
        ),
        Slip(
            dequantized(returned=lambda weights: None),
            "nothing is returned",
            r"return|None|nothing",
        ),
        Slip(
            dequantized(weight=lambda d, m, q: q, returned=list),
            "codes without scale",
            r"scale|code|whole",
        ),
    ],
)

# --- to_halves ---


def halves_by_index(rows, n_heads):
    size = len(rows) // n_heads
    order = [h * size + i for h in range(n_heads) for i in (*range(0, size, 2), *range(1, size, 2))]
    return rows[order]


def halves_by_transpose(rows, n_heads):
    return rows.reshape(n_heads, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def halves_of_each_head(rows, n_heads):
    heads = rows.chunk(n_heads)
    return torch.cat([part for head in heads for part in (head[0::2], head[1::2])])


def halves_on_all_rows(rows, n_heads):
    return torch.cat([rows[::2], rows[1::2]])


def odd_rows_first(rows, n_heads):
    heads = rows.unflatten(0, (n_heads, -1))
    return torch.cat([heads[:, 1::2], heads[:, ::2]], dim=1).flatten(0, 1)


def halves_back(rows, n_heads):
    return rows.reshape(n_heads, 2, -1, rows.shape[1]).transpose(1, 2).reshape(rows.shape)


def halves_of_columns(rows, n_heads):
    heads = rows.T.unflatten(0, (n_heads, -1))
    return torch.cat([heads[:, ::2], heads[:, 1::2]], dim=1).flatten(0, 1).T


def halves_that_stay_cut(rows, n_heads):
    heads = rows.unflatten(0, (n_heads, -1))
    return torch.cat([heads[:, ::2], heads[:, 1::2]], dim=1)


def halves_joined_over_heads(rows, n_heads):
    heads = rows.unflatten(0, (n_heads, -1))
    return torch.cat([heads[:, ::2], heads[:, 1::2]], dim=0).flatten(0, 1)


def halves_of_heads(rows, n_heads):
    heads = rows.unflatten(0, (n_heads, -1))
    return torch.cat([heads[::2], heads[1::2]]).flatten(0, 1)


def halves_of_short_heads(rows, n_heads):
    heads = rows.unflatten(0, (-1, n_heads))
    return torch.cat([heads[:, ::2], heads[:, 1::2]], dim=1).flatten(0, 1)


def even_rows_alone(rows, n_heads):
    return rows.unflatten(0, (n_heads, -1))[:, ::2].flatten(0, 1)


def even_rows_twice(rows, n_heads):
    heads = rows.unflatten(0, (n_heads, -1))
    return torch.cat([heads[:, ::2], heads[:, ::2]], dim=1).flatten(0, 1)


def halves_not_reordered(rows, n_heads):
    heads = rows.unflatten(0, (n_heads, -1))
    first, second = heads.chunk(2, dim=1)
    return torch.cat([first, second], dim=1).flatten(0, 1)


def halves_in_place(rows, n_heads):
    rows.copy_(halves_by_index(rows, n_heads))
    return rows


def halves_of_one_fixed_size(rows, n_heads):
    heads = rows.unflatten(0, (-1, 64)) if len(rows) % 64 == 0 else rows.unflatten(0, (-1, 4))
    return torch.cat([heads[:, ::2], heads[:, 1::2]], dim=1).flatten(0, 1)


def halves_without_return(rows, n_heads):
    halves_by_index(rows, n_heads)


def halves_swapped(rows, n_heads):
    heads = rows.unflatten(0, (n_heads, -1))
    return torch.cat([*heads.chunk(2, dim=1)][::-1], dim=1).flatten(0, 1)


TO_HALVES = Answers(
    right=[halves_by_index, halves_by_transpose, halves_of_each_head],
    wrong=[
        Slip(halves_on_all_rows, "over all rows, heads or not", r"each head|within|heads"),
        Slip(odd_rows_first, "the odd rows first", r"odd|first|0, 2|even"),
        Slip(halves_back, "the way back", r"back|inverse|other way|opposite|neighbours"),
        Slip(halves_of_columns, "the columns are reordered", r"column|rows"),
        Slip(halves_that_stay_cut, "the heads are not joined again", r"shape|join|flatten|dimens"),
        Slip(halves_joined_over_heads, "even rows of all heads, then odd ones", r"head"),
        Slip(halves_of_heads, "the heads are reordered", r"within|head"),
        Slip(halves_of_short_heads, "n_heads rows in each head", r"head"),
        Slip(even_rows_alone, "the odd rows are lost", r"odd|lost|shape|rows|half"),
        Slip(even_rows_twice, "the even rows twice", r"odd|twice|lost|1, 3"),
        Slip(halves_not_reordered, "the order stays", r"stay|as .*stood|order|unchanged|not|same"),
        Slip(halves_swapped, "the halves change places", r"0, 2|every second|half|halves|swap"),
        Slip(halves_in_place, "the given rows are changed", r"given|change|in place|copy|input"),
        Slip(halves_of_one_fixed_size, "heads of one fixed size", r"n_heads|size|heads"),
        Slip(halves_without_return, "nothing is returned", r"return|None|nothing"),
    ],
)

# --- chat_text ---

BEGIN = "<|im_start|>"


def chat_by_a_loop(messages, system):
    text = ""
    if messages[0]["role"] != "system":
        text += "<|im_start|>system\n" + system + "<|im_end|>\n"
    for message in messages:
        text += "<|im_start|>" + message["role"] + "\n" + message["content"] + "<|im_end|>\n"
    return text + "<|im_start|>assistant\n"


def chat_by_joins(messages, system):
    first = [] if messages[0].get("role") == "system" else [("system", system)]
    pairs = first + [(m["role"], m["content"]) for m in messages]
    parts = [f"{role}\n{content}<|im_end|>\n" for role, content in pairs] + ["assistant\n"]
    return BEGIN + BEGIN.join(parts)


def chat_by_recursion(messages, system):
    def tell(rest):
        if not rest:
            return "<|im_start|>assistant\n"
        role, content = rest[0]["role"], rest[0]["content"]
        return f"<|im_start|>{role}\n{content}<|im_end|>\n{tell(rest[1:])}"

    missing = messages[0]["role"] != "system"
    return tell(([{"role": "system", "content": system}] if missing else []) + list(messages))


def chat(
    form="<|im_start|>{role}\n{content}<|im_end|>\n",
    end="<|im_start|>assistant\n",
    lacks_system=lambda messages: messages[0]["role"] != "system",
    change=lambda messages: messages,
    joint="",
):
    """A right answer but for a message's form, the end, or the system's message."""

    def chat_text(messages, system):
        told = list(change(messages))
        if lacks_system(messages):
            told.insert(0, {"role": "system", "content": system})
        return joint.join([form.format(**message) for message in told] + [end])

    return chat_text


def chat_that_inserts(messages, system):
    if messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    return chat_by_a_loop(messages, system)


def chat_with_the_argument_always(messages, system):
    told = [m for m in messages if m["role"] != "system"]
    return chat_by_a_loop([{"role": "system", "content": system}, *told], system)


def chat_of_parts(messages, system):
    return chat_by_a_loop(messages, system).splitlines()


def chat_that_ends_every_turn(messages, system):
    text = chat()(messages, system).removesuffix("<|im_start|>assistant\n")
    return text.replace("<|im_start|>user", "<|im_start|>assistant\n<|im_start|>user")


def chat_without_return(messages, system):
    chat_by_a_loop(messages, system)


CHAT_TEXT = Answers(
    right=[chat_by_a_loop, chat_by_joins, chat_by_recursion],
    wrong=[
        Slip(chat(lacks_system=lambda m: False), "no system prompt is added", r"system"),
        Slip(
            chat(lacks_system=lambda m: True),
            "a system prompt even where there is one",
            r"system|twice|two",
        ),
        Slip(
            chat_with_the_argument_always, "the chat's own system prompt is replaced", r"system|own"
        ),
        Slip(chat(end=""), "no answer begins", r"assistant|answer|generation"),
        Slip(
            chat(end="<|im_start|>assistant"),
            "no new line behind the last assistant",
            r"new ?line|\\n|line",
        ),
        Slip(
            chat(form="<|im_start|>{role}\n{content}<|im_end|>"),
            "no new line behind a message",
            r"new ?line|\\n|line",
        ),
        Slip(
            chat(form="<|im_start|>{role} {content}<|im_end|>\n"),
            "a blank behind the role",
            r"new ?line|blank|space|\\n|role",
        ),
        Slip(
            chat(form="<|im_start|>{role}: {content}<|im_end|>\n"),
            "a colon behind the role",
            r"colon|new ?line|role",
        ),
        Slip(
            chat(form="<|im_start|>{role}\n{content}\n<|im_end|>\n"),
            "a new line before the end token",
            r"new ?line|\\n|<\|im_end\|>|line",
        ),
        Slip(chat(form="<|im_start|>{role}\n{content}\n"), "no end token", r"<\|im_end\|>|end"),
        Slip(
            chat(form="{role}\n{content}<|im_end|>\n"),
            "no begin token",
            r"<\|im_start\|>|begin|start",
        ),
        Slip(
            chat(form="<|im_start|>{content}<|im_end|>\n"),
            "the role is left out",
            r"role|speaker|who",
        ),
        Slip(
            chat(end="<|im_start|>assistant\n<|im_end|>\n"),
            "an empty answer, ended at once",
            r"end|open|empty|closed|answer",
        ),
        Slip(chat(end="<|im_start|>user\n"), "the user is to go on", r"assistant|user"),
        Slip(
            chat(change=lambda m: m[-1:]), "the last message alone", r"all|last|every|each|earlier"
        ),
        Slip(
            chat(change=lambda m: m[::-1]), "the last message first", r"order|first|revers|backward"
        ),
        Slip(
            chat(lacks_system=lambda m: all(x["role"] != "system" for x in m)),
            "a system message anywhere counts",
            r"first|system",
        ),
        Slip(
            chat(change=lambda m: [x | {"content": x["content"].strip()} for x in m]),
            "blanks around a message are cut",
            r"blank|space|strip|cut|content",
        ),
        Slip(chat_that_inserts, "the given list is changed", r"given|chang|list|copy|argument"),
        Slip(chat_of_parts, "lines in place of one text", r"text|str|list|join"),
        Slip(
            chat_that_ends_every_turn, "an answer begins before each user", r"once|last|end|behind"
        ),
        Slip(
            chat(joint="\n"), "an empty line between messages", r"new ?line|empty|blank|\\n|between"
        ),
        Slip(chat_without_return, "nothing is returned", r"return|None|nothing"),
    ],
)

# --- token_bytes ---

TABLE = "token_embd.weight"


def bytes_by_a_sum(tensors, blocks):
    tied = "output.weight" not in tensors
    return sum(
        (columns if name == TABLE and not tied else rows * columns)
        // blocks[form][0]
        * blocks[form][1]
        for name, (form, rows, columns) in tensors.items()
    )


def bytes_by_subtraction(tensors, blocks):
    def size(form, rows, columns):
        weights, n_bytes = blocks[form]
        return rows * (columns // weights) * n_bytes

    total = sum(size(*tensor) for tensor in tensors.values())
    if "output.weight" in tensors:
        form, rows, columns = tensors[TABLE]
        total -= size(form, rows - 1, columns)
    return total


def bytes_by_floats(tensors, blocks):
    total = 0.0
    for name in tensors:
        form, rows, columns = tensors[name]
        weights, n_bytes = blocks[form]
        looked_up = name == TABLE and "output.weight" in tensors
        total += (1 if looked_up else rows) * columns * n_bytes / weights
    return round(total)


def bytes_read(
    size=lambda rows, columns, weights, n_bytes: rows * columns // weights * n_bytes,
    looked_up=lambda name, tensors: name == TABLE and "output.weight" in tensors,
    rows_then=lambda rows: 1,
    skipped=lambda name, form: False,
):
    """A right answer but for the bytes of a tensor, or what is left out."""

    def token_bytes(tensors, blocks):
        total = 0
        for name, (form, rows, columns) in tensors.items():
            if skipped(name, form):
                continue
            rows = rows_then(rows) if looked_up(name, tensors) else rows
            total += size(rows, columns, *blocks[form])
        return total

    return token_bytes


def bytes_without_return(tensors, blocks):
    bytes_by_a_sum(tensors, blocks)


TOKEN_BYTES = Answers(
    right=[bytes_by_a_sum, bytes_by_subtraction, bytes_by_floats],
    wrong=[
        Slip(
            bytes_read(looked_up=lambda name, tensors: False),
            "the token table is always read whole",
            r"row|looked up|output\.weight|token table",
        ),
        Slip(
            bytes_read(looked_up=lambda name, tensors: name == TABLE),
            "only a row of the token table, even as the head",
            r"head|whole|tied|no .?output",
        ),
        Slip(
            bytes_read(looked_up=lambda n, t: n == TABLE and "output.weight" not in t),
            "the two cases are exchanged",
            r"exchang|head|swap|turned|other way|output",
        ),
        Slip(
            bytes_read(looked_up=lambda n, t: n == "output.weight"),
            "one row of the head",
            r"head|token_embd|whole|output",
        ),
        Slip(
            bytes_read(rows_then=lambda rows: 0), "no row of the token table", r"one row|a row|row"
        ),
        Slip(
            bytes_read(size=lambda r, c, w, b: r * c),
            "weights in place of bytes",
            r"weights|bytes|block",
        ),
        Slip(
            bytes_read(size=lambda r, c, w, b: r * c // w),
            "blocks in place of bytes",
            r"block|bytes",
        ),
        Slip(
            bytes_read(size=lambda r, c, w, b: r * c * b),
            "each weight a block of its own",
            r"block|divid|weights",
        ),
        Slip(
            bytes_read(size=lambda r, c, w, b: r * c * w // b),
            "weights and bytes exchanged",
            r"exchang|swap|block|bytes",
        ),
        Slip(
            bytes_read(size=lambda r, c, w, b: r * c * 4),
            "four bytes for every weight",
            r"4 bytes|four|float32|block|format",
        ),
        Slip(
            bytes_read(size=lambda r, c, w, b: 8 * r * c // w * b),
            "bits in place of bytes",
            r"bits|8 times|eight",
        ),
        Slip(
            bytes_read(size=lambda r, c, w, b: c // w * b), "one row of every tensor", r"row|whole"
        ),
        Slip(
            bytes_read(size=lambda r, c, w, b: (r + c) // w * b),
            "rows plus columns",
            r"times|product|plus|rows",
        ),
        Slip(
            bytes_read(skipped=lambda name, form: form == "F32"),
            "the norms are left out",
            r"norm|F32|all tensors|left out",
        ),
        Slip(
            bytes_read(skipped=lambda name, form: name == "output.weight"),
            "the head is left out",
            r"head|output\.weight",
        ),
        Slip(
            bytes_read(skipped=lambda name, form: name == TABLE),
            "the token table is left out",
            r"token table|token_embd|row",
        ),
        Slip(
            lambda tensors, blocks: bytes_read()(tensors, blocks) / 1e6,
            "megabytes",
            r"megabyte|million|MB|bytes",
        ),
        Slip(bytes_without_return, "nothing is returned", r"return|None|nothing"),
    ],
)

# --- split_codes ---


def split_by_bits(codes):
    bits = codes.view(torch.uint8) ^ 128
    return (bits >> 4).int(), (bits & 15).int()


def split_by_floor(codes):
    whole = codes.long()
    high = torch.div(whole, 16, rounding_mode="floor")
    return high + 8, whole - 16 * high


def split_by_lists(codes):
    pairs = [divmod(int(code) + 128, 16) for code in codes.flatten()]
    high, low = torch.tensor(pairs, dtype=torch.int32).view(*codes.shape, 2).unbind(-1)
    return high, low


def split(
    shift=lambda codes: codes.int() + 128,
    parts=lambda c: (c // 16, c % 16),
    returned=lambda high, low: (high, low),
):
    """A right answer but for the shift, the two parts, or what is returned."""

    def split_codes(codes):
        return returned(*parts(shift(codes)))

    return split_codes


SPLIT_CODES = Answers(
    right=[split_by_bits, split_by_floor, split_by_lists],
    wrong=[
        Slip(
            split(shift=lambda codes: codes + 128),
            "128 is added in int8",
            r"int8|overflow|wrap|type|127",
        ),
        Slip(
            split(shift=lambda codes: codes.int()),
            "nothing is added",
            r"128|negative|add|0 to 15|high",
        ),
        Slip(
            split(returned=lambda high, low: (low, high)),
            "the low codes first",
            r"order|first|exchang|swap|high",
        ),
        Slip(
            split(returned=lambda high, low: (high - 8, low)),
            "8 is taken off the high codes",
            r"8|0 to 15|kernel",
        ),
        Slip(
            split(returned=lambda high, low: (high - 8, low - 8)),
            "8 is taken off both",
            r"8|0 to 15|kernel",
        ),
        Slip(
            split(returned=lambda high, low: (high, low - 8)),
            "8 is taken off the low codes",
            r"8|0 to 15|kernel",
        ),
        Slip(
            split(parts=lambda c: (16 * (c // 16), c % 16)),
            "the high codes are still 16 times too large",
            r"16|shift|divid|0 to 15",
        ),
        Slip(split(parts=lambda c: (c // 8, c % 8)), "split at 8", r"16|4 bits|8"),
        Slip(split(parts=lambda c: (c // 15, c % 15)), "split at 15", r"16|15"),
        Slip(
            split(parts=lambda c: (c / 16, c % 16)),
            "a quotient with a fraction",
            r"whole|fraction|//|integer|float",
        ),
        Slip(
            split(shift=lambda codes: codes.int().abs()),
            "the sign is dropped",
            r"sign|negative|abs|128",
        ),
        Slip(
            split(shift=lambda codes: codes.int() + 127),
            "127 is added",
            r"128|127|off by one|one too",
        ),
        Slip(
            split(shift=lambda codes: codes.int() & 255),
            "the bits of two's complement",
            r"128|negative|sign|add",
        ),
        Slip(
            lambda codes: (codes.int().sign() * (codes.int().abs() // 16) + 8, codes.int() % 16),
            "rounded toward zero",
            r"floor|zero|negative|down|128",
        ),
        Slip(split(returned=lambda high, low: high), "the high codes alone", r"two|pair|both|low"),
        Slip(
            split(
                shift=lambda codes: codes.int() + 128,
                returned=lambda high, low: (high.flatten(), low.flatten()),
            ),
            "flattened",
            r"shape",
        ),
        Slip(split(returned=lambda high, low: None), "nothing is returned", r"return|None|nothing"),
    ],
)

ANSWERS = {
    "read_string": READ_STRING,
    "dequantize_block": DEQUANTIZE_BLOCK,
    "to_halves": TO_HALVES,
    "chat_text": CHAT_TEXT,
    "token_bytes": TOKEN_BYTES,
    "split_codes": SPLIT_CODES,
}

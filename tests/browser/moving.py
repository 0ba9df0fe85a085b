"""What the browser tests know about interactive figures: which one a control belongs to, and
whether it moved."""

# Whether a page's figures stand; true also where it has none.
DRAWN = """() => !document.querySelector('.widget-subarea')
    || document.querySelector('.widget-subarea .jupyter-widgets')"""
# What a figure shows right now: its visible frames, but not the labels of its controls.
SHOWN = """figure => [...figure.querySelectorAll('.widget-html-content')]
    .filter(part => part.checkVisibility()).map(part => part.innerHTML).join()"""
MOVED = f"([figure, before]) => ({SHOWN})(figure) != before"


def figure_of(control):
    """Return the figure that a control belongs to: the outermost column of widgets around it."""
    return control.locator("xpath=ancestor::*[contains(@class, 'widget-vbox')][last()]")


def assert_moves(page, control, act):
    """Do something to a control, `act()`, and wait until its figure shows something else; fails
    where it does not."""
    figure = figure_of(control)
    before = figure.evaluate(SHOWN)
    act()
    page.wait_for_function(MOVED, arg=[figure.element_handle(), before], timeout=20_000)


def assert_slider_moves(page, handle):
    """Move a slider by one step with the keyboard; its figure must follow."""
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    handle.focus()
    assert_moves(page, handle, lambda: page.keyboard.press("ArrowLeft" if at_end else "ArrowRight"))

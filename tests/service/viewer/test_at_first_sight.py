"""What somebody sees who comes to the viewer for the first time: nothing is said twice, hidden or cut."""

from __future__ import annotations

from browser import Watched


def test_a_class_that_is_off_is_drawn_by_what_the_page_draws_anyway(watched: Watched, result: str) -> None:
    """Transparency and struck text are programs of their own for whatever draws, and the first frame waits for them."""
    page = watched.open(f"view/{result}", "view")
    page.click(".legend [data-class='1']")
    styles = watched.run(
        "() => [...document.querySelectorAll('.legend tr.off, .legend tr.off *')].map((one) => {"
        " const style = getComputedStyle(one);"
        " return [style.opacity, style.textDecorationLine, style.filter, style.transform].join(' '); })"
    )
    assert set(styles) == {"1 none none none"}
    swatches = page.locator(".legend .swatch").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).backgroundColor)"
    )
    assert swatches == ["rgba(0, 0, 0, 0)", "rgb(0, 200, 0)", "rgb(0, 0, 200)"], "an empty box"
    watched.clean()

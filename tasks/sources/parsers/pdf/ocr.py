"""Text of scanned pages, by rapidocr on OpenVINO: the extra `ocr`."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, NoReturn

from roost.tasks.sources.parsers.parsed import CODE_ERRORS
from roost.tasks.sources.parsers.pdf.columns import Box, find_gutter, order_columns
from roost.tasks.sources.parsers.pdf.page import Line, Page
from roost.tasks.sources.text_encoding import clean

#: Command that installs what is needed.
INSTALL = "pip install 'roost[ocr]'"
#: Resolution at which a page is rendered, pixels per inch, and the most pixels of its longer side.
_RESOLUTION = 200
_MAX_SIDE = 4_000
_POINTS_PER_INCH = 72
#: A page is begun only while the processor time that is left for the document is this many times that of the slowest,
#: and it may take this part of what is left.
_TIME_RESERVE = 2.0
#: Processor time that is expected of the first page, which loads the models, s.
_FIRST_PAGE_S = 12.0
#: Least certainty of a line that is taken for text, 0 to 1.
_MIN_SCORE = 0.5


class _PageTooSlow(BaseException):
    """Reading a page took more than its processor time."""


def has_ocr() -> bool:
    """Whether the extra `ocr` is installed."""
    return find_spec("rapidocr") is not None and find_spec("openvino") is not None


def how_to_read_scans() -> str:
    """Say why scanned pages were not read, and which command or setting would have them read."""
    if has_ocr():
        return "reading them takes longer than a document may (ROOST_INGEST__PARSE_SECONDS)"
    return f"{INSTALL} and run it again"


def read_scans(document: Any, pages: Sequence[Page]) -> list[Page]:
    """Read the text of scanned pages, as long as the processor time of the document lasts.

    Args:
        document: A `pypdfium2.PdfDocument`.
        pages: Its scanned pages.

    Returns:
        Those that were read; a page without any text is one of them.
    """
    read: list[Page] = []
    slowest = _FIRST_PAGE_S
    for page in pages:
        left = _seconds_left()
        if left < _TIME_RESERVE * slowest:
            break
        started = time.process_time()
        try:
            with _limited(left / _TIME_RESERVE):
                read.append(_read_scan(document[page.number - 1], page))
        except _PageTooSlow:
            continue
        took = time.process_time() - started
        slowest = took if len(read) == 1 else max(slowest, took)
    return read


def _seconds_left() -> float:
    """Processor time that this worker's limit leaves for its task, s; without a limit, infinite."""
    left = signal.getitimer(signal.ITIMER_PROF)[0]
    return left or float("inf")


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Limit the processor time of a page in a worker, whose main thread runs its task; infinite for no limit.

    Raises:
        _PageTooSlow: It took more. The page's lines are read a few at a time: in between, it is ended.
    """
    if seconds == float("inf"):
        yield
        return
    signal.signal(signal.SIGVTALRM, _end_page)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _end_page(*_: object) -> NoReturn:
    raise _PageTooSlow


def _read_scan(page: Any, record: Page) -> Page:
    try:
        width, height = page.get_size()
        scale = min(_RESOLUTION / _POINTS_PER_INCH, _MAX_SIDE / max(width, height))
        found = _engine()(page.render(scale=scale).to_numpy())
    except (MemoryError, *CODE_ERRORS):
        raise
    except Exception:  # noqa: BLE001  a page that cannot be rendered has no text
        return Page(record.number, is_scanned=True, is_readable=False)
    finally:
        page.close()
    if found.txts is None:
        return Page(record.number, is_scanned=True)
    lines = []
    for text, score, corners in zip(found.txts, found.scores, found.boxes, strict=True):
        xs, ys = [float(x) / scale for x, _ in corners], [height - float(y) / scale for _, y in corners]
        if score >= _MIN_SCORE and text.strip():
            lines.append(Line(clean(text), min(xs), min(ys), max(xs), max(ys), max(ys) - min(ys)))
    return Page(record.number, tuple(_in_order(lines)), is_scanned=True)


def _in_order(lines: list[Line]) -> list[Line]:
    boxes = [Box(line.left, line.bottom, line.right, line.top) for line in lines]
    gutter = find_gutter(boxes)
    return order_columns(lines, boxes, gutter) if gutter else lines


@cache
def _engine() -> Any:
    # OpenVINO imports its telemetry if it can, which creates ~/intel: here it is as if that was not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    from rapidocr import EngineType, RapidOCR

    parts = dict.fromkeys(("Det.engine_type", "Cls.engine_type", "Rec.engine_type"), EngineType.OPENVINO)
    # The classifier of directions turns whole lines of good pages into others.
    other = {"Global.use_cls": False, "Global.log_level": "critical", "EngineConfig.openvino.inference_num_threads": 1}
    return RapidOCR(params={**parts, **other})

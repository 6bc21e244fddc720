"""Slides under the roots, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.dicom_maker import DicomSpec, write_dicom
from synthetic import tissue_like, write_slide
from wsi_segment.inference.engine.options import SegmentOptions
from wsi_segment.service.folders.root_watch import RootWatch
from wsi_segment.service.folders.slide_roots import parse_roots
from wsi_segment.service.jobs.database import Database
from wsi_segment.service.jobs.job_table import Jobs, NewJob
from wsi_segment.service.jobs.queue import Queue
from wsi_segment.service.workers.job_runner import JobRunner
from wsi_segment.service.workers.slide_catalogue import Catalogue, UnknownSlideError
from wsi_segment.service.workers.trusted_models import TrustedModels


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    database = Database(tmp_path / "data")
    database.migrate()
    (tmp_path / "slides" / "inner").mkdir(parents=True)
    write_slide(tmp_path / "slides" / "inner" / "a.tiff", tissue_like(300, 300))
    (tmp_path / "secret").mkdir()
    write_slide(tmp_path / "secret" / "b.tiff", tissue_like(300, 300))
    yield Catalogue(database, parse_roots([f"slides={tmp_path / 'slides'}"]), b"k" * 32)
    database.close()


def names(catalogue: Catalogue) -> list[str]:
    return [slide.path for root in catalogue.roots for slide in catalogue.below(root)]


@pytest.mark.parametrize(
    "path",
    [
        "slides/../secret/b.tiff", "slides/inner/../../secret/b.tiff", "{tmp}/secret/b.tiff", "/etc/passwd",
        "{tmp}/slides/../secret/b.tiff", "slides//etc/passwd", "slides/inner", "slides/", "slides", "", "slides/\0",
        "slides/inner\\a.tiff", "slides/none.tiff", "{tmp}/slidesx/a.tiff", "file:///etc/passwd", "https://host/a.svs",
    ],
)  # fmt: skip
def test_paths_that_leave_the_roots_are_unknown_like_those_that_are_not_there(
    catalogue: Catalogue, tmp_path: Path, path: str
) -> None:
    with pytest.raises(UnknownSlideError) as refused:
        catalogue.by_path(path.format(tmp=tmp_path))
    assert str(refused.value) == "the path is not a slide under the server's roots; check the path map, and `root`"


def test_a_slide_whose_root_comes_back_while_it_is_looked_for_is_known(tmp_path: Path) -> None:
    root, away = tmp_path / "slides", tmp_path / "away"
    root.mkdir()
    write_slide(root / "a.tiff", tissue_like(300, 300))
    database = Database(tmp_path / "data")
    database.migrate()

    def comes_back(name: str) -> None:
        if away.exists():
            away.rename(root)

    catalogue = Catalogue(database, parse_roots([f"slides={root}"]), b"k" * 32, refuse_away=comes_back)
    slide = catalogue.by_path("slides/a.tiff")
    catalogue.remember([slide])
    root.rename(away)
    assert catalogue.by_path("slides/a.tiff") == slide
    root.rename(away)
    assert catalogue.by_id(slide.id) == slide
    database.close()


def test_links_may_stay_under_a_root_and_may_not_leave_it(catalogue: Catalogue, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    (slides / "inside.tiff").symlink_to(slides / "inner" / "a.tiff")
    (slides / "outside.tiff").symlink_to(tmp_path / "secret" / "b.tiff")
    (slides / "folder").symlink_to(tmp_path / "secret")
    (slides / "loop.tiff").symlink_to(slides / "loop.tiff")
    assert names(catalogue) == ["inner/a.tiff", "inside.tiff"]
    for path in ("slides/outside.tiff", "slides/folder/b.tiff", "slides/loop.tiff"):
        with pytest.raises(UnknownSlideError):
            catalogue.by_path(path)


def test_names_are_told_of_slides_under_the_roots_only(catalogue: Catalogue, tmp_path: Path) -> None:
    (slide,) = (slide for root in catalogue.roots for slide in catalogue.below(root))
    catalogue.remember([slide])
    assert catalogue.names([slide.id, "0" * 24]) == {slide.id: "a.tiff"}
    moved = Catalogue(catalogue._database, parse_roots([f"others={tmp_path / 'secret'}"]), b"k" * 32)
    assert moved.names([slide.id]) == {}


def test_companion_files_may_not_leave_a_root_either(catalogue: Catalogue, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    (slides / "m.mrxs").write_bytes(b"x")
    (slides / "m").mkdir()
    (slides / "m" / "Slidedat.ini").write_text("[DATAFILE]\nFILE_0 = Data0.dat\n")
    assert "m.mrxs" in names(catalogue)
    (slides / "m" / "Slidedat.ini").write_text("[DATAFILE]\nFILE_0 = ../../secret/b.tiff\n")
    assert "m.mrxs" not in names(catalogue)
    (slides / "m" / "Slidedat.ini").write_text("")
    (slides / "m" / "Data0.dat").symlink_to(tmp_path / "secret" / "b.tiff")
    assert "m.mrxs" not in names(catalogue)
    (slides / "h.vms").write_text("[Virtual Microscope Specimen]\nImageFile=h.jpg\n")
    assert "h.vms" in names(catalogue)
    for away in ("ImageFile(1,0)=..\\secret.jpg", "MacroImage=../x.jpg", "ImageFile=sub\x0b/../../secret/b.jpg"):
        (slides / "h.vms").write_text(f"[Virtual Microscope Specimen]\n{away}\n")
        assert "h.vms" not in names(catalogue), away
    (slides / "h.vms").write_text("[Virtual Microscope Specimen]\n" + "# \n" * (1 << 20))
    assert "h.vms" not in names(catalogue)
    (slides / "dicom").mkdir()
    write_dicom(slides / "dicom", DicomSpec())
    assert "dicom" in names(catalogue)
    (tmp_path / "secret" / "2.dcm").write_bytes(bytes(128) + b"DICM")  # not an image of the slide: it is read even so
    (slides / "dicom" / "other.dcm").symlink_to(tmp_path / "secret" / "2.dcm")
    assert "dicom" not in names(catalogue)


def test_ids_tell_nothing_and_an_id_of_a_slide_that_went_is_unknown(catalogue: Catalogue, tmp_path: Path) -> None:
    slide = catalogue.by_path("slides/inner/a.tiff")
    catalogue.remember([slide])
    assert catalogue.by_id(slide.id) == slide
    other = Catalogue(catalogue._database, catalogue.roots, b"j" * 32)
    assert other.by_path("slides/inner/a.tiff").id != slide.id  # nobody can compute them without the secret
    slide.location.unlink()
    unknown = f"slide {slide.id} is unknown; GET /v1/slides lists all"
    with pytest.raises(UnknownSlideError, match=f"^{unknown}$"):  # missing
        catalogue.by_id(slide.id)
    slide.location.symlink_to(tmp_path / "secret" / "b.tiff")
    with pytest.raises(UnknownSlideError, match=f"^{unknown}$"):  # forbidden
        catalogue.by_id(slide.id)


def test_a_slide_that_was_moved_while_its_job_waited_is_not_named(catalogue: Catalogue, tmp_path: Path) -> None:
    slide = catalogue.by_path("slides/inner/a.tiff")
    catalogue.remember([slide])
    database = catalogue._database
    jobs, queue = Jobs(database), Queue(database, "me")
    jobs.accept([NewJob(slide.id, {})])
    watch = RootWatch(database, catalogue.roots)
    assert watch.away() == {}  # seen while the slide was there
    slide.location.rename(tmp_path / "elsewhere.tiff")
    claimed = queue.claim()
    assert claimed is not None
    runner = JobRunner(
        queue=queue,
        catalogue=catalogue,
        models=TrustedModels(None),
        data=tmp_path / "data",
        options=SegmentOptions(),
        stopping=threading.Event(),
        roots=watch,
    )
    runner.do(claimed)
    ended = jobs.get(claimed.id)
    assert ended is not None
    assert (ended.status, ended.message) == (
        "failed",
        f"slide {slide.id} is unknown; GET /v1/slides lists all",
    )

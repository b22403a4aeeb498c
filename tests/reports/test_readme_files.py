"""What `card --write` leaves of a file that is more than one: a link, one with several names, another's or a pipe."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from watchdog import seconds_of_waiting, seconds_of_work

from hfcount.auditing.target_files import file_targets
from hfcount.auditing.targets import named_targets
from hfcount.errors import BadInput
from hfcount.reports.readme import (
    BEGIN,
    MAX_README_BYTES,
    check_readme,
    compare_section,
    differences,
    write_section,
)
from hfcount.sources.headers.readable import LocalFile

SECTION = "## Parameters\n\nMany.\n"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / ".git").mkdir(parents=True)
    (folder / "model").mkdir()
    return folder


@pytest.mark.parametrize("outside", ["../../secret", "../.git/hooks", "/etc/hfcount-has-no-such-file"])
def test_a_link_is_not_followed_out_of_the_repository(outside: str, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    readme = repository / "model" / "README.md"
    readme.symlink_to(outside)
    for work in (lambda: check_readme(readme, to_write=True), lambda: write_section(readme, SECTION)):
        with pytest.raises(BadInput, match=r"README.md: a link that leads (out of|into) .*; name the file itself, or"):
            work()
    assert (tmp_path / "secret").read_text() == "mine"
    assert not Path("/etc/hfcount-has-no-such-file").exists()
    assert [*(repository / ".git").iterdir()] == []


def test_nor_is_a_folder_that_is_a_link(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (repository / "docs").symlink_to("../elsewhere")
    with pytest.raises(BadInput, match="a link that leads out of"):
        write_section(repository / "docs" / "README.md", SECTION)
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def test_links_within_a_repository_and_to_the_whole_of_one_are_followed(repository: Path, tmp_path: Path) -> None:
    (repository / "CARD.md").write_text("# Title\n")
    (repository / "model" / "README.md").symlink_to("../CARD.md")
    (tmp_path / "checkout").symlink_to("repository")
    write_section(tmp_path / "checkout" / "model" / "README.md", SECTION)
    assert BEGIN in (repository / "CARD.md").read_text()
    assert (repository / "model" / "README.md").is_symlink()


def test_links_that_go_round_are_one_line(repository: Path) -> None:
    (repository / "README.md").symlink_to("README.md")
    with pytest.raises(BadInput) as caught:
        check_readme(repository / "README.md", to_write=True)
    assert "\n" not in str(caught.value)


def test_all_names_of_a_file_have_the_section(repository: Path) -> None:
    readme, other = repository / "README.md", repository / "copy.md"
    readme.write_text("# Title\n" + "old\n" * 1000)
    os.link(readme, other)
    write_section(readme, SECTION)
    assert readme.samefile(other)
    assert other.read_text().endswith("Many.\n\n<!-- hfcount:end -->\n")
    write_section(readme, "## Parameters\n")  # shorter than what is there
    assert other.read_text().endswith("## Parameters\n\n<!-- hfcount:end -->\n")


def test_a_write_in_place_that_fails_puts_back_what_was_there(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = repository / "README.md"
    readme.write_text("# Title\n")
    os.link(readme, repository / "copy.md")
    synced: list[int] = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 1:
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        write_section(readme, SECTION)
    assert (repository / "copy.md").read_text() == "# Title\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="files of others take the superuser")
def test_the_owner_stays(repository: Path) -> None:
    readme = repository / "README.md"
    readme.write_text("# Title\n")
    os.chown(readme, 1234, 2345)
    readme.chmod(0o664)
    write_section(readme, SECTION)
    found = readme.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o664)
    assert BEGIN in readme.read_text()


def test_an_owner_that_cannot_be_given_stays_as_well(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As any user meets it in a folder that several write to: a new file can only be their own."""
    readme = repository / "README.md"
    readme.write_text("# Title\n")
    number, stats = readme.stat().st_ino, Path.stat

    def of_another(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = stats(path, follow_symlinks=follow_symlinks)
        return os.stat_result((*found[:4], found.st_uid + (found.st_ino == number), *found[5:10]))

    def refused(*_: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(Path, "stat", of_another)
    monkeypatch.setattr(os, "chown", refused)
    write_section(readme, SECTION)
    assert readme.stat().st_ino == number
    assert BEGIN in readme.read_text()
    assert sorted(each.name for each in repository.iterdir()) == [".git", "README.md", "model"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_no_pipe_or_device_is_waited_for(repository: Path) -> None:
    pipe = repository / "README.md"
    os.mkfifo(pipe)
    (repository / "ids.txt").symlink_to("README.md")
    (repository / "endless").symlink_to("/dev/zero")
    refused = [
        lambda: check_readme(pipe, to_write=True),
        lambda: check_readme(pipe, to_write=False),
        lambda: write_section(pipe, SECTION),
        lambda: compare_section(pipe, SECTION),
        lambda: compare_section(repository / "endless", SECTION),
        lambda: LocalFile(pipe).read(0, 8),
        lambda: list(file_targets(repository / "ids.txt")),
        lambda: list(file_targets(repository / "endless")),
    ]
    with seconds_of_waiting(60):
        for work in refused:
            with pytest.raises(BadInput, match="not a file, but a"):
                work()
        with pytest.raises(BadInput, match="no model in it"):
            list(named_targets([str(repository)]))


def test_the_output_of_a_command_is_a_file_of_ids(tmp_path: Path) -> None:
    """`--from <(...)`: bash gives the path of a pipe."""
    reading, writing = os.pipe()
    os.write(writing, b"lab/model\n")
    os.close(writing)
    try:
        assert [target.id for target in file_targets(Path(f"/dev/fd/{reading}"))] == ["lab/model"]
    finally:
        os.close(reading)


def test_a_readme_has_a_bound_and_so_has_what_is_compared(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_bytes(b"x" * (MAX_README_BYTES + 1))
    with pytest.raises(BadInput, match=r"README.md: larger than 2 MiB, which no README.md is"):
        check_readme(readme, to_write=True)
    with seconds_of_work(20):
        lines = differences("\n\nx" * 200_000, "\n\n" * 50 + SECTION)
    assert lines[-1].endswith(" lines more")

"""Data: a step's batch is fixed by the seed; a layout only cuts it into slices."""

from __future__ import annotations

import math
import sysconfig
from pathlib import Path

import pytest
import torch

from parc.runtime.data.batches import Batches, BatchSettings
from parc.runtime.data.datasets import (
    ByteDataset,
    TokenDataset,
    check_ids,
    compute_unigram_entropy,
    find_files,
)
from parc.runtime.data.order import Shuffle
from parc.runtime.process.launch import RunStopped


@pytest.fixture
def text(tmp_path: Path) -> ByteDataset:
    """1,000 bytes in three files, one of them empty; byte i is i % 251."""
    content = bytes(index % 251 for index in range(1000))
    for name, part in (("a", content[:300]), ("b", b""), ("c", content[300:])):
        (tmp_path / name).write_bytes(part)
    return ByteDataset([tmp_path / name for name in "abc"])


def batches(text: ByteDataset, **changes: object) -> Batches:
    settings: dict = {"sequences": 8, "length": 10, "microbatches": 2, "seed": 5} | changes
    return Batches(text, BatchSettings(**settings))


def test_a_window_may_cross_files(text: ByteDataset) -> None:
    assert len(text) == 1000
    assert text.read(295, 10).tolist() == [index % 251 for index in range(295, 305)]
    assert text.read(0, 1000).tolist() == [index % 251 for index in range(1000)]


@pytest.mark.parametrize("type", ["uint8", "uint16", "uint32", "int32"])
def test_token_files_of_every_type(tmp_path: Path, type: str) -> None:
    ids = [3, 1, 4, 1, 5, 92, 250]
    width = {"uint8": 1, "uint16": 2, "uint32": 4, "int32": 4}[type]
    path = tmp_path / "ids.bin"
    path.write_bytes(b"".join(number.to_bytes(width, "little") for number in ids))
    tokens = TokenDataset([path], type)
    assert len(tokens) == 7
    assert tokens.read(2, 4).tolist() == ids[2:6]
    assert tokens.read(2, 4).dtype == torch.int64


def test_several_token_files_are_one_text(tmp_path: Path) -> None:
    for name, ids in (("a", [1, 2, 3]), ("b", []), ("c", [4, 5])):
        (tmp_path / name).write_bytes(b"".join(number.to_bytes(2, "little") for number in ids))
    tokens = TokenDataset([tmp_path / name for name in "abc"], "uint16")
    assert len(tokens) == 5
    assert tokens.read(1, 3).tolist() == [2, 3, 4]
    assert tokens.read(0, 5).tolist() == [1, 2, 3, 4, 5]


def test_a_file_that_ends_within_an_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(b"123")
    with pytest.raises(ValueError, match=r"ids does not hold uint16: its size is no multiple of 2"):
        TokenDataset([tmp_path / "ids"], "uint16")


@pytest.mark.parametrize(
    ("ids", "refused"),
    [([0, 39], None), ([0, 1, 2, 40], "id 40; the model knows ids below 40"), ([5, -100, 3, 1], "id -100")],
)
def test_ids_are_looked_at_before_the_first_step(ranks, tmp_path: Path, ids: list[int], refused) -> None:
    (tmp_path / "ids").write_bytes(b"".join(number.to_bytes(4, "little", signed=True) for number in ids))
    dataset = TokenDataset([tmp_path / "ids"], "int32")

    def find_fault() -> str | None:
        try:
            check_ids(dataset, 40, "cpu")
        except RunStopped as stopped:
            return str(stopped)
        return None

    for found in ranks(2, find_fault):  # each looks at a half, and all of them stop
        assert found is None if refused is None else refused in found


def test_labels_are_the_next_tokens(text: ByteDataset) -> None:
    tokens, labels = batches(text).load(0)
    assert tokens.shape == labels.shape == (2, 4, 10)
    assert torch.equal(tokens[..., 1:], labels[..., :-1])
    assert torch.equal((tokens[..., -1] + 1) % 251, labels[..., -1] % 251)


def test_a_model_that_shifts_gets_its_tokens_as_labels(text: ByteDataset) -> None:
    shifting = batches(text, shift="model")
    tokens, labels = shifting.load(0)
    assert torch.equal(tokens, labels)
    assert shifting.select_predicted(labels).shape == (2, 4, 9)
    assert batches(text).select_predicted(labels).shape == (2, 4, 10)


@pytest.mark.parametrize("data_ranks", [2, 4])
def test_the_data_ranks_slices_make_up_each_microbatch(text: ByteDataset, data_ranks: int) -> None:
    whole = batches(text).load(3)
    slices = [batches(text).load(3, rank, data_ranks) for rank in range(data_ranks)]
    for part in (0, 1):
        assert torch.equal(torch.cat([piece[part] for piece in slices], dim=1), whole[part])


def test_microbatches_cut_the_same_step(text: ByteDataset) -> None:
    (one, _), (four, _) = (batches(text, microbatches=m).load(1) for m in (1, 4))
    assert torch.equal(one.flatten(0, 1), four.flatten(0, 1))


def test_a_pass_shows_every_window_once_and_the_next_in_another_order(text: ByteDataset) -> None:
    data = batches(text)
    assert data.windows == 99
    first, second = ([data.read_sequence(epoch * 99 + n)[0].item() for n in range(99)] for epoch in (0, 1))
    starts = sorted(window * 10 % 251 for window in range(99))
    assert sorted(first) == sorted(second) == starts
    assert first != second
    assert first != [batches(text, seed=6).read_sequence(n)[0].item() for n in range(99)]


def test_an_id_the_model_does_not_know_is_refused(text: ByteDataset) -> None:
    batches(text, vocabulary=251).load(0)
    with pytest.raises(ValueError, match="ids below 40"):
        batches(text, vocabulary=40).load(0)


def test_too_little_text_is_refused(text: ByteDataset) -> None:
    with pytest.raises(ValueError, match="has 1000 ids; one sequence needs 1001"):
        batches(text, length=1000)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000])
def test_a_shuffle_is_a_bijection(size: int) -> None:
    order = Shuffle(size, "key")
    assert sorted(order(index) for index in range(size)) == list(range(size))
    with pytest.raises(IndexError):
        order(size)


def test_a_shuffle_of_many_keeps_no_table() -> None:
    order = Shuffle(10**15, "key")
    assert len({order(index) for index in range(1000)}) == 1000


def test_files_are_found_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt", "sub/d.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert [path.name for path in find_files(["*.txt"], tmp_path)] == ["a.txt", "b.txt"]
    assert [path.name for path in find_files(["b.*", "**/*.txt"], tmp_path)] == ["b.txt", "a.txt", "c.txt"]
    assert find_files([str(tmp_path / "*.txt")], Path("elsewhere")) == find_files(["*.txt"], tmp_path)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        find_files(["*.parquet"], tmp_path)


def test_the_standard_library_is_there_without_its_tests_and_packages() -> None:
    found = find_files(["stdlib:*.py"], Path())
    names = {path.relative_to(sysconfig.get_paths()["stdlib"]).as_posix() for path in found}
    assert {"ast.py", "json/decoder.py"} <= names
    assert not [name for name in names if "site-packages" in name or name.startswith("test/")]
    assert found == sorted(found)


def test_the_entropy_of_a_known_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parc.runtime.data.datasets.PIECE", 7)  # counted in several pieces
    (tmp_path / "a").write_bytes(b"aabc" * 25)
    expected = 0.5 * math.log(2) + 2 * 0.25 * math.log(4)
    assert compute_unigram_entropy(ByteDataset([tmp_path / "a"])) == pytest.approx(
        expected, rel=1e-15
    )  # one rounding a term

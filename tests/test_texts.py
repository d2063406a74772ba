"""Texts come one at a time from files, folders and data sets, and what is not there is said in a sentence."""

from __future__ import annotations

import json
import sys

import pytest

from selfextend_viz import load_texts
from selfextend_viz.experiments import texts as texts_module

pytest.importorskip("datasets", reason="tables and data sets are read by datasets")

BOOKS = [f"Book {number}. " + "word " * 20 * number for number in range(1, 6)]


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    """No hub, and no cache but a folder of the test's own; datasets reads both when it is imported."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows(column="text"):
    return [{column: book, "year": 1900 + number} for number, book in enumerate(BOOKS)]


def jsonl(path, column="text"):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(column)), encoding="utf-8")
    return path


def parquet(path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows()), path)
    return path


def test_a_file_is_one_text(tmp_path):
    path = tmp_path / "book.md"
    path.write_text("naïve", encoding="utf-8")
    assert list(load_texts(path)) == list(load_texts(str(path))) == ["naïve"]


def test_each_file_of_a_folder_is_a_text(tmp_path):
    for name, book in zip("abcde", BOOKS, strict=True):
        (tmp_path / f"{name}.txt").write_text(book, encoding="utf-8")
    assert list(load_texts(tmp_path)) == BOOKS


@pytest.mark.parametrize("write", [jsonl, parquet])
def test_each_row_of_a_table_is_a_text(tmp_path, write):
    path = write(tmp_path / f"books.{write.__name__}")
    assert list(load_texts(path)) == BOOKS
    assert list(load_texts(path, limit=2)) == BOOKS[:2]
    long = [book for book in BOOKS if len(book) >= 250]
    assert list(load_texts(path, limit=2, at_least=250)) == long[:2] and len(long) == 3


def test_a_folder_of_tables_has_splits(tmp_path):
    parquet(tmp_path / "test-00000-of-00001.parquet")
    assert list(load_texts(tmp_path, limit=3)) == BOOKS[:3]
    with pytest.raises(ValueError, match=r"cannot be opened: Bad split: train. Available splits: \['test'\]"):
        load_texts(tmp_path, split="train")


def test_texts_are_measured_in_bytes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("ü" * 10, encoding="utf-8")
    assert list(load_texts(path, at_least=20)) == ["ü" * 10]
    with pytest.raises(ValueError, match="has 1 texts, the longest of 20 bytes, but one of 21 is needed"):
        list(load_texts(path, at_least=21))


def test_no_more_rows_are_read_than_are_asked_for(monkeypatch):
    read = []

    def endless():
        for number in range(10**9):
            read.append(number)
            yield {"text": f"text {number}"}

    monkeypatch.setattr(texts_module, "_opened", lambda options: endless())
    assert list(load_texts("owner/endless", limit=3)) == ["text 0", "text 1", "text 2"]
    assert len(read) <= 4


def test_pg19_goes_by_its_name(monkeypatch):
    asked = []
    monkeypatch.setattr(texts_module, "_opened", lambda options: asked.append(options) or iter(rows()))
    assert list(load_texts("pg19", limit=1)) == BOOKS[:1]
    assert asked == [{"path": "emozilla/pg19", "split": "test", "name": None}]


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(ConnectionError, match=r"'emozilla/pg19' is on the Hugging Face hub, which cannot be reached"):
        load_texts("pg19")
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*missing.jsonl"):
        load_texts(tmp_path / "missing.jsonl")
    with pytest.raises(ValueError, match="no texts in a column 'body'; the columns with texts are text"):
        load_texts(jsonl(tmp_path / "a.jsonl"), column="body")
    with pytest.raises(ValueError, match="limit is 0"):
        load_texts("pg19", limit=0)
    with pytest.raises(ValueError, match="has 0 characters"):
        load_texts("")


def test_a_data_set_without_datasets_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'selfextend-viz\[lm-eval\]'"):
        load_texts("pg19")

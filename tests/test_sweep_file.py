import fake_notebooks as fake
import pytest

from shc import method_run
from shc.sweep_file import SweepError, cell_id, read_sweep

SOURCE = """run: str = "../runs/one"  # run folder
base: str = ""  # shared part
base_only: bool = False  # only that
method: str = "shc"  # loss
bits: int = 32  # code length
rate: float = 0.1  # learning rate
seed: int = 0  # of everything
frozen: bool = False  # last layer only
threads: int = 1  # of torch"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with a notebook `tiny`, entered."""
    fake.write_sequence(tmp_path)
    fake.write(tmp_path / "notebooks" / "tiny.ipynb", fake.notebook(fake.parameters(SOURCE)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHC_RUNS", str(tmp_path / "runs"))
    return tmp_path


@pytest.fixture
def read(project):
    """Read a sweep file with this content."""

    def write_and_read(text, **options):
        (project / "try.yaml").write_text(text)
        return read_sweep("try.yaml", **options)

    return write_and_read


def refused(read, text):
    with pytest.raises(SweepError) as raised:
        read(text)
    return str(raised.value)


# ------------------------------------------------------------------------------------------ expansion


def test_blocks_are_products_joined_in_the_files_order(read):
    sweep = read(
        """
        notebook: tiny
        set: {rate: 1, bits: 8}
        cells:
          - {method: [shc, csq], seed: [0, 1]}
          - {name: long codes, method: shc, bits: [16, 64]}
        """
    )
    found = [(c.number, c.block, c.values["method"], c.values["bits"], c.values.get("seed")) for c in sweep.cells]
    assert found == [
        (1, "1", "shc", 8, 0),
        (2, "1", "shc", 8, 1),
        (3, "1", "csq", 8, 0),
        (4, "1", "csq", 8, 1),
        (5, "long codes", "shc", 16, None),
        (6, "long codes", "shc", 64, None),
    ]
    assert all(type(c.values["rate"]) is float for c in sweep.cells)
    assert sweep.name == "try" and sweep.folder.name == "try"
    resolved = sweep.resolved(sweep.cells[0].values)
    assert resolved == {"method": "shc", "bits": 8, "rate": 1.0, "seed": 0, "frozen": False}
    assert list(resolved) == ["method", "bits", "rate", "seed", "frozen"]


def test_names_of_cells_are_readable_unique_and_depend_on_all_that_is_set(read):
    sweep = read(
        "{notebook: tiny, cells: [{method: [shc], bits: [8], seed: [0, 1], rate: [0.1, 0.2]}, {frozen: true}]}"
    )
    names = [cell.id for cell in sweep.cells]
    assert len(set(names)) == 5 and names[0].startswith("shc-8-s0-") and names[4].startswith("cell-")
    assert cell_id({"bits": 8, "seed": 1}) == cell_id({"seed": 1, "bits": 8})
    assert cell_id({"method": "../x y"}).startswith("_x_y-")


def test_cells_with_the_same_parameters_are_taken_once(read):
    sweep = read("{notebook: tiny, cells: [{bits: [8, 16]}, {bits: [16, 8.0, 32]}]}".replace("8.0", "8"))
    assert [cell.values["bits"] for cell in sweep.cells] == [8, 16, 32]
    assert sweep.repeats == ((3, 2), (4, 1))


def test_numbers_that_yaml_takes_for_text_are_numbers(read):
    assert read("{notebook: tiny, cells: [{rate: 1e-4}]}").cells[0].values == {"rate": 1e-4}


def test_a_notebook_is_named_or_given_as_a_path_seen_from_the_file(project):
    fake.write(project / "other" / "mine.ipynb", fake.notebook(fake.parameters(SOURCE)))
    (project / "other" / "s.yaml").write_text("{notebook: ./mine.ipynb, name: called, cells: [{bits: 8}]}")
    sweep = read_sweep("other/s.yaml")
    assert sweep.notebook == project / "other" / "mine.ipynb" and sweep.folder == project / "runs" / "called"


# ------------------------------------------------------------------------------------------ shared parts


def test_cells_that_agree_in_the_shared_parameters_have_one_base(read):
    sweep = read("{notebook: tiny, shared: [seed], cells: [{method: [a, b], seed: [0, 1]}, {method: c}]}")
    assert list(sweep.bases.values()) == [{"seed": 0}, {"seed": 1}]
    a0, a1, b0, b1, default = (cell.base for cell in sweep.cells)
    assert a0 == b0 == default and a1 == b1 != a0 and a0.startswith("shared-")


def test_only_method_run_shares_unless_it_is_asked_for(read, project):
    assert read("{notebook: tiny, cells: [{seed: [0, 1]}]}").bases == {}
    fake.write(project / "notebooks" / "method_run.ipynb", fake.notebook(fake.parameters(SOURCE)))
    assert len(read("cells: [{seed: [0, 1], method: [shc]}]", check=False).bases) == 2
    assert read("{shared: [], cells: [{seed: [0, 1]}]}", check=False).bases == {}


# ------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cells: [", "try.yaml, line 1: not readable YAML"),
        ("- 1", "must hold `cells:`"),
        ("{notebok: tiny, cells: [{}]}", "unknown key 'notebok'; did you mean 'notebook'?"),
        ("{notebook: tinny, cells: [{}]}", "no notebook 'tinny'; did you mean 'tiny'?"),
        ("{notebook: ./none.ipynb, cells: [{}]}", "no notebook ./none.ipynb"),
        ("{notebook: tiny}", "cells: must be a list of blocks"),
        ("{notebook: tiny, cells: [3]}", "block 1 of cells must hold"),
        ("{notebook: tiny, cells: [{bits: []}]}", "block 1 gives no value for 'bits'"),
        ("{notebook: tiny, set: 3, cells: [{}]}", "set: must hold"),
        ("{notebook: tiny, name: 3, cells: [{}]}", "name: 3 is not a text"),
        (
            "{notebook: tiny, shared: [sed], cells: [{}]}",
            "'sed' is no parameter that cells of tiny.ipynb could share; did",
        ),
        ("{notebook: tiny, shared: 3, cells: [{}]}", "shared: must be a list"),
        ("{notebook: tiny, cells: [{bitz: 3}]}", "tiny has no parameter 'bitz'; did you mean 'bits'?"),
        ("{notebook: tiny, cells: [{run: x}]}", "run is filled in by the sweep"),
        ("{notebook: tiny, cells: [{method: no}]}", "method=False is not of type str; write it in quotes"),
        ("{notebook: tiny, cells: [{bits: 8.5}]}", "bits=8.5 is not of type int; it is code length, by default 32"),
        ("{notebook: tiny, cells: [{rate: .nan}]}", "rate=nan is not of type float"),
        ("{notebook: tiny, cells: [{seed: }]}", "seed=None is not of type int"),
        ("{notebook: tiny, cells: [{method: 2026-01-02}]}", "is not of type str"),
    ],
)
def test_mistakes_are_told(read, text, told):
    assert told in refused(read, text)


def test_a_file_that_is_not_there_is_told(project):
    with pytest.raises(SweepError, match=r"there is no file none\.yaml"):
        read_sweep("none.yaml")


def test_a_notebook_that_cannot_be_swept_is_told(read, project):
    fake.write(project / "notebooks" / "bare.ipynb", fake.notebook(fake.code("x = 1")))
    fake.write(project / "notebooks" / "named.ipynb", fake.notebook(fake.parameters("cell: int = 0")))
    plain = fake.notebook(fake.parameters("bits: int = 8"))
    fake.write(project / "notebooks" / "plain.ipynb", plain)
    assert "no cell tagged `parameters`" in refused(read, "{notebook: bare, cells: [{}]}")
    assert "a parameter 'cell', which is a column" in refused(read, "{notebook: named, cells: [{}]}")
    assert "base and base_only; plain.ipynb lacks them" in refused(
        read, "{notebook: plain, shared: [bits], cells: [{}]}"
    )


def test_the_folder_of_a_run_is_not_taken(read, project):
    (project / "runs" / "try").mkdir(parents=True)
    (project / "runs" / "try" / "params.yaml").write_text("{}")
    assert "runs/try is a run of the notebook sequence" in refused(read, "{notebook: tiny, cells: [{}]}")


def test_all_impossible_cells_are_listed_with_their_reasons(read, project, monkeypatch):
    def check_cell(values):
        assert values["threads"] == 1 and "base" not in values  # whole, without what the sweep fills in
        if values["method"] == "csq" and values["bits"] < 16:
            raise ValueError(f"csq needs at least 16 bits, not {values['bits']}")

    monkeypatch.setattr(method_run, "check_cell", check_cell)
    fake.write(project / "notebooks" / "method_run.ipynb", fake.notebook(fake.parameters(SOURCE)))
    told = refused(read, "cells: [{method: [shc, csq], bits: [4, 8, 16]}, {bits: x}, {sead: 1, method: [shc, csq]}]")
    assert told.splitlines() == [
        "try.yaml: 5 cells cannot be run; nothing was started",
        "csq needs at least 16 bits, not 4",
        "    cell 4  method='csq', bits=4",
        "csq needs at least 16 bits, not 8",
        "    cell 5  method='csq', bits=8",
        "bits='x' is not of type int; it is code length, by default 32",
        "    cell 7  bits='x'",
        "method_run has no parameter 'sead'; did you mean 'seed'? Its parameters are bits, frozen, method, rate, seed, "
        "threads",
        "    cell 8  sead=1, method='shc'",
        "    cell 9  sead=1, method='csq'",
    ]
    assert len(read("cells: [{method: csq, bits: 4}]", check=False).cells) == 1


def test_notebooks_of_the_sequence_are_checked_by_their_steps(read, project):
    source = fake.PARAMETERS + "\nbits: int = 32  # code length"
    fake.write(project / "notebooks" / "03_hash_centers.ipynb", fake.notebook(fake.parameters(source)))
    assert "bits" in refused(read, "{notebook: 03_hash_centers, cells: [{bits: -4}]}")

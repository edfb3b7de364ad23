import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsm_workflows.algorithms.background.resharp import resharp
from qsm_workflows.algorithms.dipole import forward_field
from qsm_workflows.algorithms.inversion.direct import tkd
from qsm_workflows.algorithms.masking import bet
from qsm_workflows.algorithms.units import radians_per_ppm
from qsm_workflows.cli import step_options, steps
from qsm_workflows.cli.main import build_parser, main

SIZE = (1.0, 1.0, 1.5)
AFFINE = np.diag([*SIZE, 1.0])
TIMES = (0.004, 0.010)
METHODS = [(step, method) for step, (_, methods) in steps._STEPS.items() for method in methods]


@pytest.fixture
def head(tmp_path, monkeypatch):
    """A tiny head in the working folder: fields, wrapped phase and magnitude of two echoes."""
    monkeypatch.chdir(tmp_path)
    shape = (20, 19, 18)
    distance = np.linalg.norm((np.indices(shape).T - (9.5, 9, 8.5)) * SIZE, axis=-1).T
    mask = distance < 9
    chi = np.where(distance < 3, 0.2, 0)
    local = forward_field(chi, SIZE, (0, 0, 1)) * mask
    field = local + 0.08 * (np.indices(shape)[0] - 9.5) * mask
    volumes = {"chi": chi, "total": field, "local": local, "mask": mask}
    volumes["labels"] = (distance < 3) * 7
    for number, time in enumerate(TIMES, 1):
        phase = radians_per_ppm(3.0, time) * field
        volumes[f"unwrapped{number}"] = phase
        volumes[f"phase{number}"] = np.angle(np.exp(1j * phase))
        volumes[f"mag{number}"] = 100 * mask
    for name, volume in volumes.items():
        kind = np.uint8 if volume.dtype == bool else np.float32
        nib.save(nib.Nifti1Image(volume.astype(kind), AFFINE), f"{name}.nii")
    return tmp_path


def run(line):
    return main(line.split())


def load(name):
    return np.asarray(nib.load(name).dataobj)


def test_mask(head):
    magnitude, size = load("mag1.nii"), (8.0, 8.0, 12.0)
    nib.save(nib.Nifti1Image(magnitude, np.diag([*size, 1])), "big.nii")
    assert run("mask bet big.nii --out brain.nii.gz --iterations 50") == 0
    brain = load("brain.nii.gz")
    assert brain.dtype == np.uint8
    np.testing.assert_array_equal(brain, bet(magnitude, size, smoothness=2, iterations=50))


def test_phase_is_scaled_and_its_offset_removed(head):
    for number in (1, 2):
        stored = np.angle(np.exp(1j * (load(f"unwrapped{number}.nii") + 0.6))) * 1000
        nib.save(nib.Nifti1Image(stored.astype(np.float32), AFFINE), f"stored{number}.nii")
    assert run("phase scale stored1.nii stored2.nii --units mrad --out r1.nii r2.nii") == 0
    line = "phase offset r1.nii r2.nii --magnitude mag1.nii mag2.nii --te 0.004 0.010"
    assert run(f"{line} --mask mask.nii --out c1.nii c2.nii") == 0
    inside = load("mask.nii") > 0
    for number in (1, 2):
        np.testing.assert_allclose(
            load(f"c{number}.nii")[inside], load(f"phase{number}.nii")[inside], atol=0.01
        )


def test_channels_are_combined(head, capsys):
    turns = np.array([0.4, 2.0, -1.0])
    for number in (1, 2):
        phase = load(f"unwrapped{number}.nii")[..., None] + turns
        wrapped = np.angle(np.exp(1j * phase)).astype(np.float32)
        magnitude = load(f"mag{number}.nii")[..., None] * np.float32([1, 2, 2])
        nib.save(nib.Nifti1Image(wrapped, AFFINE), f"channels{number}.nii")
        nib.save(nib.Nifti1Image(magnitude, AFFINE), f"sizes{number}.nii")
    line = "phase coils channels1.nii channels2.nii --magnitude sizes1.nii sizes2.nii"
    line += " --te 0.004 0.010 --out c1.nii c2.nii --out-magnitudes m1.nii"
    assert run(line) == 2
    assert "--out-magnitudes takes a file for each of the 2 inputs" in capsys.readouterr().err
    assert run(f"{line} m2.nii") == 0
    inside = load("mask.nii") > 0
    for number in (1, 2):
        difference = np.exp(1j * (load(f"c{number}.nii") - load(f"phase{number}.nii")))
        assert np.abs(np.angle(difference))[inside].max() < 0.01
        np.testing.assert_allclose(load(f"m{number}.nii")[inside], 300, rtol=1e-3)


def test_unwrap_one_echo(head):
    assert run("unwrap bestpath phase2.nii --mask mask.nii --out u.nii.gz") == 0
    assert np.ptp(load("phase2.nii")) < 2 * np.pi < np.ptp(load("u.nii.gz"))
    turns = (load("u.nii.gz") - load("unwrapped2.nii"))[load("mask.nii") > 0] / (2 * np.pi)
    assert np.abs(turns - np.rint(np.median(turns))).max() < 1e-4


def test_unwrap_several_echoes(head):
    line = "unwrap bestpath phase1.nii phase2.nii --te 0.004 0.010 --mask mask.nii --out"
    assert run(f"{line} u1.nii u2.nii") == 0
    for number in (1, 2):
        np.testing.assert_allclose(
            load(f"u{number}.nii"), load(f"unwrapped{number}.nii"), atol=1e-4
        )


def test_fieldmap(head):
    line = (
        "fieldmap linear unwrapped1.nii unwrapped2.nii --magnitude mag1.nii mag2.nii "
        "--te 0.004 0.010 --b0 3 --mask mask.nii --out t.nii.gz"
    )
    assert run(line) == 0
    np.testing.assert_allclose(load("t.nii.gz"), load("total.nii"), atol=1e-5)


@pytest.mark.parametrize("method", ["romeo", "laplacian"])
def test_other_unwrappings(head, method):
    given = "--magnitude mag1.nii mag2.nii" if method == "romeo" else ""
    line = f"unwrap {method} phase1.nii phase2.nii --te 0.004 0.010 --mask mask.nii {given} --out"
    assert run(f"{line} u1.nii u2.nii") == 0
    for number in (1, 2):
        np.testing.assert_allclose(
            load(f"u{number}.nii"), load(f"unwrapped{number}.nii"), atol=1e-3
        )


def test_nonlinear_fieldmap_with_its_noise(head):
    line = (
        "fieldmap nonlinear unwrapped1.nii unwrapped2.nii --magnitude mag1.nii mag2.nii "
        "--te 0.004 0.010 --b0 3 --mask mask.nii --out t.nii.gz --out-noise n.nii.gz"
    )
    assert run(line) == 0
    np.testing.assert_allclose(load("t.nii.gz"), load("total.nii"), atol=1e-5)
    noise = load("n.nii.gz")[load("mask.nii") > 0]
    assert 0 < noise.min() <= noise.max() < 1e-3


@pytest.mark.parametrize("method", ["arlo", "nonlinear"])
def test_r2star(head, method):
    for number, time in enumerate((0.005, 0.010, 0.015), 1):
        decayed = load("mag1.nii") * np.exp(-25 * time)
        nib.save(nib.Nifti1Image(decayed.astype(np.float32), AFFINE), f"echo{number}.nii")
    line = f"r2star {method} echo1.nii echo2.nii echo3.nii --te 0.005 0.010 0.015"
    assert run(f"{line} --mask mask.nii --out r.nii.gz") == 0
    np.testing.assert_allclose(load("r.nii.gz"), 25 * (load("mask.nii") > 0), atol=0.05)


def test_swi(head):
    line = "swi phase unwrapped2.nii --magnitude mag2.nii --mask mask.nii --out s.nii"
    assert run(f"{line} --out-projection p.nii.gz --thickness 6") == 0
    image, slab = load("s.nii"), load("p.nii.gz")
    inside = load("mask.nii") > 0
    assert 0 < image[inside].min() < 90 < image.max() <= 100
    np.testing.assert_array_equal(slab[10, 9, 9], image[10, 9, 7:11].min())  # four of 1.5 mm


def test_background_removal(head, capsys):
    line = "bgremove resharp total.nii --mask mask.nii --out l.nii --out-mask m.nii.gz"
    assert run(f"{line} --radius 2 --tik 1e-3") == 0
    local, eroded = resharp(load("total.nii"), load("mask.nii"), SIZE, radius=2, tikhonov=1e-3)
    np.testing.assert_allclose(load("l.nii"), local, atol=1e-6)
    np.testing.assert_array_equal(load("m.nii.gz"), eroded)
    assert capsys.readouterr().out.split() == ["l.nii", "m.nii.gz"]


def test_inversion(head):
    line = "invert tkd local.nii --mask mask.nii --out x.nii.gz"
    assert run(f"{line} --threshold 0.3 --pad 0 --b0-dir 1 0 0") == 0
    chi = tkd(load("local.nii"), load("mask.nii"), SIZE, (1, 0, 0), threshold=0.3, pad=0)
    np.testing.assert_allclose(load("x.nii.gz"), chi, atol=1e-6)
    assert nib.load("x.nii.gz").affine == pytest.approx(AFFINE)


@pytest.mark.parametrize(
    ("step", "written", "name"),
    [
        ("invert", "xQSM-Individual", "xqsmindividual"),
        ("invert", "xqsm-cropped", "xqsmcropped"),
        ("invert", "iLSQR", "ilsqr"),
        ("invert", "LN-QSM", "lnqsm"),
        ("bgremove", "V-SHARP", "vsharp"),
        ("unwrap", "ROMEO", "romeo"),
    ],
)
def test_methods_may_be_written_as_their_authors_do(capsys, step, written, name):
    shown = []
    for method in (written, name):
        with pytest.raises(SystemExit) as exit_:
            run(f"{step} {method} --help")
        assert exit_.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert f"usage: qsm-wf {step} {name}" in shown[0]


def test_names_of_files_are_left_as_they_are(head):
    Path("local.nii").rename("My-Local_Field.nii")
    assert run("invert T-KD My-Local_Field.nii --mask mask.nii --out X-1.nii --pad 0") == 0
    assert Path("X-1.nii").is_file()


HZ = radians_per_ppm(3.0, 1.0) / (2 * np.pi)


def test_a_field_in_other_units_is_converted(head):
    for name, factor in (("hz", HZ), ("rad", radians_per_ppm(3.0, TIMES[1]))):
        nib.save(nib.Nifti1Image(load("total.nii") * np.float32(factor), AFFINE), f"{name}.nii")
    assert run("fieldmap scale hz.nii --units Hz --b0 3 --out a.nii.gz") == 0
    assert run(f"fieldmap scale rad.nii --units rad --b0 3 --te {TIMES[1]} --out b.nii") == 0
    for made in ("a.nii.gz", "b.nii"):
        np.testing.assert_allclose(load(made), load("total.nii"), atol=1e-6)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("bgremove ismv total.nii", "total"),
        ("invert tkd local.nii", "local"),
        ("invert lnqsm total.nii --max-outer 1", "total"),
        ("invert tfi total.nii --magnitude mag1.nii --max-outer 1", "total"),
        ("invert cosmos local.nii local.nii --b0-dir 0 0 1 --b0-dir 0 .6 .8", "local"),
        ("invert xqsmindividual local.nii", "local"),
    ],
)
def test_a_field_that_is_too_strong_for_ppm_is_warned_of(head, caplog, line, field):
    mask = np.ones((20, 19, 18), np.uint8)
    nib.save(nib.Nifti1Image(mask, AFFINE), "all.nii")
    assert run(f"{line} --mask all.nii --out x.nii") == 0
    assert "Hz or radians?" not in caplog.text
    for name in ("total.nii", "local.nii"):
        nib.save(nib.Nifti1Image(load(name) * np.float32(HZ), AFFINE), name)
    assert run(f"{line} --mask all.nii --out x.nii") == 0
    assert f"the {field} field reaches" in caplog.text


def test_medi(head):
    line = "invert medi local.nii --mask mask.nii --magnitude mag1.nii --b0 3 --pad 5"
    assert run(f"{line} --out x.nii") == 0
    assert run(f"{line} --out y.nii --regularisation 10") == 0
    assert np.std(load("x.nii")) > np.std(load("y.nii")) > 0


def test_cosmos(head):
    line = "invert cosmos local.nii local.nii --mask mask.nii --b0-dir 0 0 1 --b0-dir 0 .6 .8"
    assert run(f"{line} --out x.nii --pad 5") == 0
    assert load("x.nii").any()


def test_reference(head):
    assert run("reference mean chi.nii --mask mask.nii --out r.nii") == 0
    assert load("r.nii")[load("mask.nii") > 0].mean() == pytest.approx(0, abs=1e-6)
    line = "reference mean chi.nii --mask mask.nii --out r.nii"
    assert run(f"{line} --labels labels.nii --indices 7") == 0
    assert load("r.nii")[load("labels.nii") == 7].mean() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("step", "method"), METHODS, ids=[f"{step} {method.name}" for step, method in METHODS]
)
def test_every_option_reaches_the_node(head, step, method):
    """Each option, given a value that is not the default, changes the input that it names."""
    interface = steps._load(method.interface)
    spec = interface.input_spec()
    given, expected = [step, method.name], {}
    for name in step_options.input_names(interface):
        flag, value, text = option_for(name, spec.trait(name))
        given += [*flag, *text]
        expected[name] = value
    given += ["--out", *["x.nii"] * (2 if name_of_output(interface) == "out_files" else 1)]
    arguments = build_parser().parse_args(given)
    inputs = interface(**step_options.given_inputs(arguments, interface)).inputs
    assert {name: getattr(inputs, name) for name in expected} == expected
    assert len(expected) > 1


def name_of_output(interface):
    return step_options.output_names(interface)[0]


def option_for(name, trait):
    """Flag, value as the node has it, and value as it is typed."""
    flag = [] if name in ("in_file", "in_files") else [f"--{step_options.option(name)}"]
    kind = type(trait.trait_type).__name__
    if kind == "Bool":
        return [f"--no-{flag[0][2:]}"] if trait.default else flag, not trait.default, []
    if kind == "Enum":
        return flag, trait.trait_type.values[-1], [str(trait.trait_type.values[-1])]
    if kind in ("List", "InputMultiObject"):
        value, text = sample(type(trait.inner_traits[0].trait_type).__name__)
        return flag, [value], text
    return flag, *sample(kind)


def sample(kind):
    """A value that is no input's default, and how it is typed."""
    return {
        "InputFile": (str(Path("chi.nii").absolute()), ["chi.nii"]),
        "Float": (0.625, ["0.625"]),
        "Int": (77, ["77"]),
        "Real": (0.625, ["0.625"]),
        "Whole": (77, ["77"]),
        "Str": ("meta", ["meta"]),
        "Tuple": ((0.0, 0.6, 0.8), ["0", ".6", ".8"]),
    }[kind]


def test_help_tells_units_and_defaults(head, capsys):
    with pytest.raises(SystemExit) as exit_:
        run("invert tkd --help")
    assert exit_.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "zeros around the mask, mm; 0 for periodic (default: 40.0)" in text
    assert "--threshold VALUE smallest |D| that is divided by (default: 0.15)" in text
    assert "Shmueli" in text


def test_every_step_lists_its_methods(capsys):
    for step, (_, methods) in steps._STEPS.items():
        with pytest.raises(SystemExit):
            run(f"{step} --help")
        listed = capsys.readouterr().out.split()
        assert all(method.name in listed for method in methods)


INVERT = "invert tkd local.nii --mask mask.nii"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{INVERT}", "the following arguments are required: --out"),
        ("invert tkd local.nii --out x.nii", "the following arguments are required: --mask"),
        ("invert tkd none.nii --mask mask.nii --out x.nii", "there is no file none.nii"),
        (
            f"{INVERT} --out x.nii --threshold much",
            "argument --threshold: must be a finite number above 0 and below 2/3, not much",
        ),
        (f"{INVERT} --out x.nii --lambda 3", "unrecognized arguments: --lambda 3"),
        ("invert magic local.nii --out x.nii", "invalid choice: 'magic'"),
        (
            f"{INVERT} --out x.nii --threshold 2",
            "argument --threshold: must be a finite number above 0 and below 2/3, not 2",
        ),
        (
            f"{INVERT} --out x.nii --pad -3",
            "argument --pad: must be a finite number from 0 upwards, not -3",
        ),
        (
            "bgremove vsharp total.nii --mask mask.nii --out x.nii --radii 9 nan",
            "argument --radii: must be a finite number above 0, not nan",
        ),
        (
            "bgremove pdf total.nii --mask mask.nii --out x.nii --max-iterations 2.5",
            "argument --max-iterations: must be a whole number from 1 upwards, not 2.5",
        ),
        (
            "invert star local.nii --mask mask.nii --out x.nii --regularisation 1",
            "strong_regularisation must be larger than regularisation, not 0.005 with 1",
        ),
        (f"{INVERT} --out x.nii --b0-dir 0 0 2", "b0_dir must be a unit vector"),
        (f"{INVERT} --out x.img", "x.img must end in .nii or .nii.gz"),
        (f"{INVERT} --out x.nii --device tricorder", "tricorder"),
        ("invert tkd empty.nii --mask mask.nii --out x.nii", "empty.nii"),
        ("invert tkd small.nii --mask mask.nii --out x.nii", "bring both to one grid first"),
        ("invert tkd nan.nii --mask mask.nii --out x.nii", "NaN"),
        (
            "bgremove resharp total.nii --mask mask.nii --out x.nii --out-mask x.nii",
            "two outputs have the same name",
        ),
        (
            "unwrap bestpath phase1.nii phase2.nii --te 1 2 --mask mask.nii --out x.nii",
            "--out takes a file for each of the 2 inputs",
        ),
        (
            "unwrap bestpath phase1.nii phase2.nii --mask mask.nii --out x.nii y.nii",
            "echo times",
        ),
        ("fieldmap scale total.nii --units rad --b0 3 --out x.nii", "an echo time"),
        (
            "reference mean chi.nii --mask mask.nii --indices 7 --out x.nii",
            "labels and indices together say what the reference region is: give both",
        ),
        (
            "reference mean chi.nii --mask mask.nii --labels labels.nii --out x.nii",
            "labels and indices together say what the reference region is: give both",
        ),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(head, capsys, line, message):
    Path("empty.nii").touch()
    local = load("local.nii")
    nib.save(nib.Nifti1Image(local[1:], AFFINE), "small.nii")
    nib.save(nib.Nifti1Image(np.where(local > 0, np.nan, local), AFFINE), "nan.nii")
    before = sorted(head.iterdir())
    try:
        status = run(line)
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert sorted(head.iterdir()) == before


def test_a_package_that_is_installed_apart_is_named(head, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepbet", None)
    assert run("mask deepbet mag1.nii --out m.nii") == 2
    assert "pip install qsm-workflows[deepbet]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [(MemoryError(), "too little memory"), (MemoryError("of 3 GB"), "of 3 GB")],
)
def test_too_little_memory_is_an_error_like_others(head, capsys, monkeypatch, error, message):
    def run_out(_):
        raise error

    monkeypatch.setattr("qsm_workflows.interfaces._images.load", run_out)
    assert run(f"{INVERT} --out x.nii") == 2
    assert f"qsm-wf: error: {message}" in capsys.readouterr().err


def test_an_existing_output_survives_a_failure(head):
    assert run(f"{INVERT} --out x.nii") == 0
    before = Path("x.nii").read_bytes()
    assert run(f"{INVERT} --out x.nii --b0-dir 0 0 2") == 2
    assert Path("x.nii").read_bytes() == before

from __future__ import annotations

from pathlib import Path

import pytest

from flows.recipe import RECIPES, read_recipe, recipe_path
from warehouse.errors import EmolakeError, InvalidField, MalformedSource, MissingFolder, UnknownField, UnknownName

GOOD = """
name = "small"
title = "A small one"

[corpora.clips]
reader = "table"
file = "clips.csv"

[features.wave]
extractor = "waveform"
corpora = ["clips"]

[features.vector]
extractor = "opensmile"
corpora = ["clips"]
feature_set = "eGeMAPSv02"
level = "functionals"

[models.linear]
student = "linear"
corpus = "clips"
protocol = "emodb4-loso6"
inputs = { vector = "vector" }

[report]
models = ["linear"]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_read(path: Path) -> None:
    assert read_recipe(path).name == path.stem


def test_a_good_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, GOOD))
    assert recipe.features["vector"].fields == {"feature_set": "eGeMAPSv02", "level": "functionals"}
    assert recipe.text == GOOD
    assert recipe.failures.allowed == 0


@pytest.mark.parametrize(
    ("old", "new", "error", "sentence"),
    [
        ('level = "functionals"', 'lyevel = "functionals"', UnknownField,
         r"recipe 'small' \[features.vector\]: no field 'lyevel'; did you mean 'level'\?"),
        ('[report]\nmodels', '[report]\nmodles', UnknownField,
         r"recipe 'small' \[report\]: no field 'modles'; did you mean 'models'\?"),
        ("[features.wave]", "[featurs.wave]", UnknownField,
         "recipe 'small': no field 'featurs'; did you mean 'features'"),
        ('extractor = "waveform"', 'extractor = "wavform"', UnknownName,
         "no extractor 'wavform'; did you mean 'waveform'"),
        ('reader = "table"', 'raeder = "table"', InvalidField, r"\[corpora.clips\]: field 'reader' must be given"),
        ('level = "functionals"', 'level = "functional"', InvalidField,
         r"\[features.vector\]: field 'level' is 'functional'"),
        ('corpora = ["clips"]\nfeature_set', 'corpora = ["clip"]\nfeature_set', InvalidField,
         "field 'features.vector.corpora' names the corpus 'clip', which the recipe does not have"),
        ('{ vector = "vector" }', '{ vector = "vektor" }', InvalidField,
         "field 'models.linear.inputs.vector' names the feature 'vektor', which the recipe does not have"),
        ('models = ["linear"]', 'models = ["liner"]', InvalidField, "names the model 'liner'"),
        ('protocol = "emodb4-loso6"', 'protocol = "emodb"', UnknownName, "no protocol 'emodb'"),
        ('protocol = "emodb4-loso6"', 'protocol = "mine.toml"', MissingFolder, "the protocol is not at .*mine.toml"),
        ('inputs = {', 'init = "other"\ninputs = {', InvalidField, "names the model 'other'"),
        ('inputs = {', 'init = "linear"\ninputs = {', InvalidField, "needs itself: linear → linear"),
        ('inputs = {', 'selection = "salient"\ninputs = {', InvalidField, "names the selection 'salient'"),
        ('extractor = "waveform"', 'extractor = "waveform"\ncheckpoint = "linear"', InvalidField,
         "field 'features.wave.checkpoint' must not be given: this extractor loads none"),
        ('extractor = "waveform"', 'extractor = "encoder"', InvalidField,
         "field 'features.wave.checkpoint' must name a model"),
        ('reader = "table"', "reader = 3", InvalidField, r"\[corpora.clips\]: field 'reader' must be text"),
        ('inputs = {', "seeds = []\ninputs = {", InvalidField, "field 'models.linear.seeds' must name at least one"),
        ('inputs = {', "seeds = [-1]\ninputs = {", InvalidField,
         "field 'seeds.0' is wrong: input should be greater than or equal to 0"),
        ('{ vector = "vector" }', '{ vectr = "vector" }', InvalidField,
         "'models.linear' cannot be fitted: 'students.linear' needs shards of 'vector' to predict, but it is given 'v"),
        ('inputs = {', "seeds = [1, 2, 1]\ninputs = {", InvalidField, "'models.linear.seeds' names 1 2 times"),
        ('models = ["linear"]', "models = []", InvalidField, "field 'report.models' must name at least one"),
        ('models = ["linear"]', 'models = ["linear", "linear"]', InvalidField,
         "field 'report.models' names 'linear' 2 times"),
        ('corpora = ["clips"]\nfeature_set', 'corpora = []\nfeature_set', InvalidField,
         "field 'features.vector.corpora' must name at least one"),
        ('title = "A small one"', "title = 3", InvalidField, "recipe 'small': field 'title' is wrong"),
        ('name = "small"', "name = ", MalformedSource, "is not TOML"),
        ("[features.wave]", "[features.my-wave]", InvalidField,
         "field 'features.my-wave.* is wrong: string should match"),
        ('name = "small"', f'name = "{"s" * 101}"', InvalidField,
         "field 'name' is wrong: string should have at most 100 characters"),
        ("[features.wave]", f"[features.{'w' * 101}]", InvalidField,
         r"field 'features.w+.\[key\]' is wrong: string should have at most 100 characters"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, error: type[EmolakeError], sentence: str
) -> None:
    assert old in GOOD
    with pytest.raises(error, match=sentence):
        read_recipe(write(tmp_path, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        (b'name = "caf\xe9"', MalformedSource, r"small\.toml: is not UTF-8 \(invalid continuation byte at byte 11\)"),
        (b'name = "a"\ntitle = "b"\ncorpora = ["clips"]', InvalidField, "field 'corpora' must be a table"),
        (b'name = "a"\ntitle = "b"\nmodels = 3', InvalidField, "field 'models' must be a table"),
    ],
)
def test_what_is_no_recipe_at_all(tmp_path: Path, content: bytes, error: type[EmolakeError], sentence: str) -> None:
    (tmp_path / "small.toml").write_bytes(content)
    with pytest.raises(error, match=sentence):
        read_recipe(tmp_path / "small.toml")


OWN = """
id = "mine"
title = "Clips of one lab"
reader = "table"
test = "split = 'test'"
[labels]
anger = "angry"
"""


def test_a_protocol_may_lie_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(OWN, encoding="utf-8")
    recipe = read_recipe(write(tmp_path, GOOD.replace("emodb4-loso6", "mine.toml")))
    assert recipe.protocol("linear").classes == ["angry"]
    assert "folder" not in recipe.text, "where a recipe lies is no part of it"


FILMS = GOOD.replace(
    "[report]",
    """[corpora.films]
reader = "films"

[models.other]
student = "text_encoder"
task = "mlm"
corpus = "films"
protocol = "films-unlabelled"
inputs = { text = "text" }
objective = { mlm = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 9 }

[features.teacher]
extractor = "encoder"
corpora = ["films"]
checkpoint = "other"
logits = true

[selections.salient]
corpus = "films"
logits = "teacher.logits"
threshold = 0.4

[models.chosen]
student = "text_encoder"
task = "mlm"
corpus = "films"
selection = "salient"
protocol = "films-unlabelled"
inputs = { text = "text" }
objective = { mlm = 1.0 }
fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 9 }

[report]""",
)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('corpus = "films"\nprotocol', 'corpus = ["films", "clips"]\nprotocol',
         "'models.other.protocol' is for the reader 'films', but 'clips' is read by 'table'"),
        ('corpus = "films"\nprotocol', 'corpus = ["film"]\nprotocol',
         "'models.other.corpus' names the corpus 'film', which the recipe does not have"),
        ('corpus = "films"\nselection', 'corpus = ["films", "films"]\nselection',
         "'models.chosen.corpus' must be 'films', of which 'salient' selects"),
        ("[features.wave]", '[align.own]\naligner = "provided"\ncorpora = ["films"]\n\n[features.wave]',
         "'align.own.corpora' names 'films', whose reader 'films' knows of no alignment that is shipped"),
        ('threshold = 0.4', 'threshold = 0.4\nthresholds = { angry = 1.5 }',
         "field 'thresholds.angry' is wrong: input should be less than 1"),
        ('checkpoint = "other"\nlogits = true\n\n[selections.salient]\n',
         'checkpoint = "linear"\nlogits = true\n\n[selections.salient]\nthresholds = { hapy = 0.3 }\n',
         "'selections.salient.thresholds' names 'hapy', but 'linear' tells angry, happy"),
        ('[report]\nmodels = ["linear"]', '[report]\nmodels = ["other"]',
         "'report.models' names 'other', but no class is told by its protocol or by a teacher's selection"),
    ],
)  # fmt: skip
def test_corpora_that_do_not_fit_are_refused_before_anything_is_done(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert old in FILMS and read_recipe(write(tmp_path, FILMS)).models["chosen"].corpora == ["films"]
    with pytest.raises(InvalidField, match=sentence):
        read_recipe(write(tmp_path, FILMS.replace(old, new, 1)))


ALIGNED = GOOD.replace(
    "[features.wave]",
    """[align.one]
aligner = "pocketsphinx"
corpora = ["clips"]

[align.wide]
aligner = "pocketsphinx"
beam = 1e-200
corpora = ["clips"]

[features.wave]""",
).replace("{ vector", '{ means = "wave@wide.phone", times = "@one.word", vector')


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[align.one]", "[align]",
         r"\[align.aligner\]: field 'align' must have tables with names: \[align.NAME\]"),
        ("wave@wide.phone", "wave@wide.phon",
         "field 'models.linear.inputs.means' names the tier 'phon': use word, phone, syllable"),
        ("beam = 1e-200", 'train = ["clip"]',
         "field 'align.wide.train' names the corpus 'clip', which the recipe does not have"),
        ("beam = 1e-200", 'train = ["clips"]',
         "field 'align.wide.train' must not be given: the aligner 'pocketsphinx' trains no acoustic model"),
        ('aligner = "pocketsphinx"\nbeam = 1e-200', 'aligner = "mfa"\nacoustic_model = "m.zip"\ntrain = ["clips"]',
         "field 'align.wide.train' must not be given beside an acoustic model"),
        ("wave@wide.phone", "wave@", "names the tier '@': use word, phone, syllable"),
        ("wave@wide.phone", "wav@wide.phone", "names the feature 'wav', which the recipe does not have"),
        ("wave@wide.phone", "wave@wid.phone", "names the aligner 'wid', which the recipe does not have"),
        ("wave@wide.phone", "wave@phone",
         "could mean several alignments of 'clips': write '@one.phone' or '@wide.phone'"),
        ('beam = 1e-200\ncorpora = ["clips"]', 'corpora = ["clip"]',
         "field 'align.wide.corpora' names the corpus 'clip', which the recipe does not have"),
        ('beam = 1e-200\ncorpora = ["clips"]', 'corpora = ["clips", "clips"]',
         "field 'align.wide.corpora' names 'clips' 2 times"),
        ('corpus = "clips"', 'corpus = ["clips", "more"]', "names the corpus 'more', which the recipe does not have"),
    ],
)  # fmt: skip
def test_segments_that_are_not_there_are_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    recipe = read_recipe(write(tmp_path, ALIGNED))
    assert list(recipe.align) == ["one", "wide"] and recipe.align["wide"].fields == {"beam": 1e-200}
    assert old in ALIGNED
    with pytest.raises(InvalidField, match=sentence):
        read_recipe(write(tmp_path, ALIGNED.replace(old, new, 1)))


def test_segments_are_needed_of_every_corpus_of_a_model(tmp_path: Path) -> None:
    more = '[corpora.more]\nreader = "table"\nfile = "clips.csv"\n\n[align.one]'
    text = ALIGNED.replace("[align.one]", more).replace('corpus = "clips"', 'corpus = ["clips", "more"]')
    sentence = "field 'models.linear.inputs.means' needs 'more' aligned by 'wide': add it to align.wide.corpora"
    with pytest.raises(InvalidField, match=sentence):
        read_recipe(write(tmp_path, text))


def test_segments_need_an_alignment(tmp_path: Path) -> None:
    text = GOOD.replace('{ vector = "vector" }', '{ vector = "vector", means = "wave@word" }')
    with pytest.raises(InvalidField, match=r"needs 'clips' aligned: give the recipe a table \[align.NAME\]"):
        read_recipe(write(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("epochs = 1,", "epochs = 0,", "fit: field 'epochs' is 0, but must be at least 1"),
        ("1e-3", "nan", "fit: field 'learning_rate' is nan, but must be a finite number"),
        ("label = 1.0", "label = inf", "label holds float inf, which has no canonical JSON"),
        ("epochs = 1,", "epoch = 1,", "fit: no field 'epoch'; did you mean 'epochs'"),
        ("{ label = 1.0 }", "{ lable = 1.0 }", "the objective of 'students.pooled': no field 'lable'"),
        ("{ label = 1.0 }", "{ logits = 1.0 }", "needs shards of 'teacher_logits' for the term 'logits'"),
        ("{ label = 1.0 }", "{}", "the objective of 'students.pooled': field .* or another must have a weight"),
    ],
)  # fmt: skip
def test_a_fit_that_no_lake_could_make_is_refused_before_anything_is_extracted(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    text = GOOD.replace('student = "linear"', 'student = "pooled"\nmodalities = "audio"\nobjective = { label = 1.0 }\n'
                        'fit = { epochs = 1, learning_rate = 1e-3, batch_frames = 99 }')  # fmt: skip
    text = text.replace("vector =", "audio_states =", 1)
    assert old in text and read_recipe(write(tmp_path, text)).models["linear"].student == "pooled"
    with pytest.raises(InvalidField, match=f"recipe 'small': field 'models.linear' cannot be fitted: .*{sentence}"):
        read_recipe(write(tmp_path, text.replace(old, new)))


def test_recipe_path(tmp_path: Path) -> None:
    assert recipe_path("demo") == RECIPES / "demo.toml"
    with pytest.raises(UnknownName, match="no recipe 'dmo'; did you mean 'demo'"):
        recipe_path("dmo")
    with pytest.raises(MissingFolder, match=r"the recipe is not at .*none\.toml"):
        recipe_path(str(tmp_path / "none.toml"))

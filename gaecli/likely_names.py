"""What columns of responses are probably for, by words in their names: suggested, and nothing is computed by it."""

from __future__ import annotations

from gaecli.formats.base import ColumnInfo, RolloutFile
from gaecli.names import GROUP_NAMES, RESULT_NAMES, word_set, words_of

#: Texts, or lists of texts, by such names are responses.
_RESPONSE_WORDS = word_set(
    "response responses completion completions answer answers output outputs generation generations sample samples"
)
#: Texts by such names are what was asked.
_PROMPT_WORDS = word_set("prompt prompts question questions problem problems query queries")
_GROUP_WORDS = word_set("group prompt prompts question problem query instruction task example instance uid")
_TRAINING_STEPS = (
    "step",
    "global_step",
    "training_step",
    "train_step",
    "gen_step",
    "rollout_step",
    "iteration",
)
_SCORE_NAMES = ("reward", "score", "rewards", "scores", "token_level_rewards", "token_level_scores")
_SCORE_WORDS = word_set("reward rewards score scores")
_SUM_WORDS = word_set("total sum final overall combined")
_RIGHT_WORDS = word_set("correct correctness accuracy acc pass passed solved success verified")
#: What is said about prompts or scores beside them.
_ABOUT_WORDS = word_set(
    "advantage advantages return returns baseline mean std avg min max length len num number count tokens mask "
    "weight time chosen rejected next"
)
#: What ends the name of a measure: `response_length`, `num_tokens`. A name of one word may be a reward's.
_MEASURE_WORDS = word_set(
    "length lengths len tokens token count counts turns time seconds sec latency entropy kl logprob logprobs id ids "
    "idx index seed rank epoch iteration temperature"
)


def is_measure(name: str) -> bool:
    """Of a response, where any column of numbers may be a reward: how long, how many, how late, which."""
    *before, last = words_of(name)
    return bool(before) and last in _MEASURE_WORDS and _SCORE_WORDS.isdisjoint(before)


def likely_group(file: RolloutFile) -> str | None:
    """The column that is equal for responses to one prompt."""
    there = {name.lower(): name for name in names_in(file)}
    known = [there[name] for name in GROUP_NAMES if name in there]
    found = next((name for name in known if says_anything(file.find(name))), None)
    if found is not None or not (_has_responses(file) or _has_prompts(file)):
        return found
    wanted = [name for name in file.columns if _is_about(name, _GROUP_WORDS)]
    return next((name for name in wanted if _tells_groups(file.columns[name])), None)


def likely_training_step(file: RolloutFile) -> str | None:
    """The column that says which policy the responses are of: those of two are not compared."""
    there = {name.lower(): name for name in file.columns}
    return next((there[name] for name in _TRAINING_STEPS if name in there), None)


def likely_scores(file: RolloutFile) -> tuple[str, ...]:
    """The columns or fields that are, or sum to, the reward of a response."""
    there = {name.lower(): name for name in names_in(file)}
    known = next((there[name] for name in _SCORE_NAMES if name in there), None)
    if known is not None and _is_score(file.find(known)):
        return (known,)
    fields = () if known is None else score_fields(file, known)
    whole = [field for field in fields if _is_whole(field.rpartition(".")[2])]
    return tuple(whole[:1]) or fields or (_likely_by_words(file) if _has_responses(file) else ())


def _likely_by_words(file: RolloutFile) -> tuple[str, ...]:
    usable = [name for name in names_in(file) if _is_score(file.find(name)) and name not in RESULT_NAMES]
    scores = [name for name in usable if _is_about(name, _SCORE_WORDS)]
    sums = [name for name in scores if _SUM_WORDS & set(words_of(name))]
    right = [name for name in usable if _is_about(name, _RIGHT_WORDS)]
    return tuple(sums[:1] or scores or right[:1])


def _is_whole(name: str) -> bool:
    """Of fields beside each other, the one that is the reward: `score` beside `acc` and `format`."""
    return name.lower() in _SCORE_NAMES or not _SUM_WORDS.isdisjoint(words_of(name))


def score_fields(file: RolloutFile, name: str) -> tuple[str, ...]:
    """Numbers directly within a struct."""
    inner = [field for field in file.inner_fields() if field.rpartition(".")[0] == name]
    return tuple(field for field in inner if _is_score(file.find(field)))


def _is_score(info: ColumnInfo | None) -> bool:
    return info is not None and info.unusable is None and info.kind in ("float", "int", "bool")


def names_in(file: RolloutFile) -> list[str]:
    """Columns, and fields within them."""
    return list(dict.fromkeys([*file.columns, *file.inner_fields()]))


def _is_about(name: str, words: frozenset[str]) -> bool:
    found = set(words_of(name))
    return bool(found & words) and not found & _ABOUT_WORDS


def has_lists_of_responses(file: RolloutFile) -> bool:
    """Whether a row is a prompt with all responses to it: lists of other texts may be the tokens of one."""
    lists = [name for name in names_in(file) if (info := file.find(name)) is not None and info.is_list]
    return any(_is_text(file.find(name)) and _names_responses(name) for name in lists)


def _has_responses(file: RolloutFile) -> bool:
    return any(
        (_is_text(info) or info.has_whole_cells) and _names_responses(name)
        for name, info in file.columns.items()
    )


def _has_prompts(file: RolloutFile) -> bool:
    """Texts of what was asked, one a row."""
    return any(
        (_is_text(info) or info.has_whole_cells) and not info.is_list and _is_about(name, _PROMPT_WORDS)
        for name, info in file.columns.items()
    )


def _is_text(info: ColumnInfo | None) -> bool:
    return info is not None and info.kind == "id"


def _names_responses(path: str) -> bool:
    """Or the column or struct that a field is in."""
    words = [set(words_of(part)) for part in path.split(".")]
    return any(found & _RESPONSE_WORDS for found in words) and not words[-1] & {"token", "tokens"}


def _tells_groups(info: ColumnInfo) -> bool:
    return not info.is_list and info.unusable is None and info.kind in ("id", "int")


def says_anything(info: ColumnInfo | None) -> bool:
    """Not null throughout."""
    return info is not None and info.kind != "null"

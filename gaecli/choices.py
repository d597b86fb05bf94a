"""The words that settings and presets choose from."""

from __future__ import annotations

from typing import Literal

Bootstrap = Literal["zero", "current", "error"]
DoneAt = Literal["end", "start"]
#: The reward in a row is that of the action there, or came with the observation: that of the action before it.
RewardAt = Literal["action", "arrival"]
#: What a truncated end means to the recursion: its next state has a value (`exact`); that value is
#: V(sₜ) (`current`), or is V(sₜ) and not discounted (`undiscounted`), or is V of the next row, of another
#: episode (`reset`); it is terminal (`zero`); its step has no advantage (`drop`); it is no end (`leak`).
#: `ask`, of some presets: where the data has such ends the user has to say.
Truncation = Literal["exact", "current", "undiscounted", "reset", "zero", "drop", "leak", "ask"]
#: A masked step does not exist (`skip`), and a trajectory ends before it (`cut`); counts as 0 (`zero`), letting the
#: trace pass (`gated`); or is left out of the statistics only (`keep`).
MaskMode = Literal["skip", "cut", "zero", "gated", "keep"]
#: What a masked row gets: nothing, 0, or what the recursion carries through it.
MaskFill = Literal["null", "zero", "carry"]
#: The return of a masked row that is no step, where it holds a number: V and the advantage that the recursion
#: carries through it, V alone, or 0.
MaskedReturns = Literal["carry", "value", "zero"]
#: A reward on a masked step: left out, with a warning; that of the last kept step before it; or an error.
MaskedReward = Literal["drop", "move", "error"]
NormalizeScope = Literal["none", "all", "file", "episode"]
#: A column of units holds the id of each, or flags at the last step of each.
UnitIs = Literal["id", "end"]
#: The reward of a unit, of those of its steps; and the step of it whose V is that of the unit.
UnitReward = Literal["sum", "mean"]
UnitValue = Literal["first", "last"]
#: What a group baseline gives the only trajectory of a group: 0, its score, or an error.
Singleton = Literal["zero", "raw", "error"]
#: And one whose rewards are all missing: an error, 0 beside no other, or what a score of 0 gets.
Unscored = Literal["error", "zero", "counted"]
#: The spread that centred scores are divided by: that of the group, of the batch, or none.
ScaleRewards = Literal["group", "batch", "none"]
#: What enters mean and standard deviation once.
MeasuredOver = Literal["steps", "trajectories"]
NormFloor = Literal["add", "clamp", "rsqrt"]
#: Rewards out of success: -1/Z a step, 0 or -C/Z at the last one (`recap`); the same without the division
#: (`steps`); 1 or 0 at the last step, 0 elsewhere (`sparse`).
SuccessReward = Literal["recap", "steps", "sparse"]
#: Where the success flag of an episode counts that is not the same throughout.
SuccessAt = Literal["last", "any"]
#: The threshold leaves the share Q above it (`top`), or is the quantile Q (`above`).
LabelSide = Literal["top", "above"]
LabelOperator = Literal["ge", "gt"]
#: Whether rows that are labelled true whatever their advantage count for the quantile.
LabelForced = Literal["counted", "left-out"]
LabelType = Literal["bool", "text", "language"]
Weight = Literal["awr", "crr", "crr-binary", "iql", "rabc"]
ColumnNames = Literal["gaecli", "lerobot"]
#: What libraries do to label: the table is `gaecli.label_settings.LABEL_RULES`.
LabelRuleName = Literal[
    "rlinf-recap", "rlinf-steam", "kai0", "lerobot-3245", "lerobot-3764", "opentau", "crr"
]
Precision = Literal["double", "single"]
OnNan = Literal["error", "drop-episode"]
#: What a result may be converted to.
WrittenFormat = Literal["parquet", "arrow", "jsonl", "csv", "npz"]

#: `gae`: A is the scan of δ. `accumulated`: A is one step on the λ-return of the next step (brax).
#: `finite-horizon`: the mean of the k-step advantages, weights renormalised at the end of the episode.
Recursion = Literal["gae", "accumulated", "finite-horizon"]
#: `sum`: A + V. `reward-to-go`: the discounted sum of rewards and of the bootstrap value.
ReturnRule = Literal["sum", "reward-to-go"]
OpenEnds = Literal["bootstrap", "terminal"]
#: How the library's own arrays lie: [T, N] or [B, T].
ArrayLayoutName = Literal["time-major", "batch-major"]
#: How a column came to its role: the user named it, its name is an alias, or one but for case, or the data
#: set that the file belongs to has it so.
RoleReason = Literal["flag", "name", "preset", "case", "data set", "log"]

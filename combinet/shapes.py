"""Shape rules: how the widths of a layer's input and output are related.

Pass a rule to `Model(..., widths=rule)`. Compositions use it to check widths, `initialize` to infer
missing dims, and `resize_output` to plan a resize.

| rule | for a layer that |
|---|---|
| `from_dims` (the default) | declares its widths as dims nI and nO, or has no such dims |
| `preserves` | has an output as wide as its input |
| `per_column` | has weights for each column, and dim nI as the width of input and output |
| `fixed` | has dims nI and nO that are part of its code or data and never change |
| `delegates` | has the widths of its only sublayer |
| `chained` | calls its sublayers one after the other |
| `parallel` | has sublayers with one input, and outputs of one width |
| `concatenated` | has sublayers with one input, and concatenates their outputs |
| `one_width` | has sublayers whose inputs and outputs all have one width |

You can also write a rule. It is a function `rule(model, nI, nO, infer) -> (nI, nO)`, where `infer`
is a `ShapeInference`. The rule receives the widths of input and output that are known outside the
model (None if unknown). It returns the widths that are known with the model's dims and sublayers.
To do this, it can

- call `infer(layer, nI, nO)` for a sublayer, which returns its widths,
- call `infer.dim(model, name, width)` to read or set a dim of the model,
- call `infer.same(model, *widths)` for widths that must be equal.

Each of these raises DimensionError if sizes disagree. Define the rule at the top level of a module
if the model is to be pickled.

Example:
    A layer that returns each value and its absolute value, so the output is twice as wide.

    >>> import numpy as np
    >>> from combinet import Linear, Model
    >>> def forward(model, X, run):
    ...     def backprop(dY):
    ...         left, right = np.split(dY, 2, axis=1)
    ...         return left + right * np.sign(X)
    ...     return run.ops.concatenate([X, abs(X)], axis=1), backprop
    >>> def doubled(model, nI, nO, infer):
    ...     return nI, infer.same(model, nO, None if nI is None else ConcatWidth([nI, nI]))
    >>> (Linear(2, 3) >> Model("doubled", forward, widths=doubled) >> Linear(5)).initialize()
    chain: 33 parameters
      linear   nI=3 nO=2   8
      doubled
      linear   nI=4 nO=5  25
"""

from combinet.core.shape_inference import ConcatWidth as ConcatWidth
from combinet.core.shape_inference import ShapeInference as ShapeInference
from combinet.core.shape_inference import ShapeRule as ShapeRule
from combinet.core.shape_inference import Width as Width
from combinet.core.shape_inference import Widths as Widths
from combinet.core.shape_inference import item as item
from combinet.core.shape_rules import chained as chained
from combinet.core.shape_rules import concatenated as concatenated
from combinet.core.shape_rules import delegates as delegates
from combinet.core.shape_rules import fixed as fixed
from combinet.core.shape_rules import from_dims as from_dims
from combinet.core.shape_rules import one_width as one_width
from combinet.core.shape_rules import parallel as parallel
from combinet.core.shape_rules import per_column as per_column
from combinet.core.shape_rules import preserves as preserves

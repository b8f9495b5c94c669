"""Shape rules: how the widths of a layer's input and output follow from each other.

`Model(..., widths=rule)` takes one of them, or a function of your own. Compositions check widths
by them, `initialize` infers missing dims, and `resize_output` plans a resize:

| rule | the layer |
|---|---|
| `from_dims` (the default) | has the widths nI and nO as dims of these names, if it has any |
| `preserves` | gives as many columns as it takes, whatever their number |
| `per_column` | the same, with weights for each column: their number is its dim nI |
| `fixed` | has widths that are part of its code or data, its dims nI and nO |
| `delegates` | has the widths of the one layer in it |
| `chained`, `parallel`, `concatenated`, `one_width` | has those of its layers, as these combine |

A rule is a function `rule(model, nI, nO, infer) -> (nI, nO)`, of a module if the model is to be
pickled. It receives what is known outside of the widths of input and output (None: nothing) and
returns what is known of both afterwards. It asks sublayers by `infer(layer, nI, nO)`, reads and
sets the model's own dims by `infer.dim(model, name, width)`, merges widths that must be equal by
`infer.same(model, *widths)`; all of these raise DimensionError if sizes disagree.

Example:
    A layer of the absolute value next to the value, twice as wide as its input.

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

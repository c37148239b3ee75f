"""Which products of a model a layer of its compiled form stands for: the CPU plugin fuses, renames and takes apart.

Consumes a model, and layers of its runtime model by what they tell of themselves (`rt_info`); produces names of
products (convolutions, matrix products, attention) of the model. Knows no kernels and counts nothing.
"""

from __future__ import annotations

from typing import Any

from stages.ir import anatomy
from stages.ir.anatomy import COMPUTE_LAYERS, info

ATTENTION = "ScaledDotProductAttention"
FUSED = ("Subgraph", ATTENTION)  # what the CPU plugin makes of attention


class Products:
    """The products of a model whose shapes are fixed, by name and in order."""

    def __init__(self, fixed: Any) -> None:
        self._operations = {operation.get_friendly_name(): operation for operation in fixed.get_ordered_ops()}
        found = [operation for operation in fixed.get_ordered_ops() if anatomy.macs(operation)]
        self.by_name = {operation.get_friendly_name(): operation for operation in found}
        assert len(self.by_name) == len(found), "two products of one name cannot be told apart"
        self._order = {name: place for place, name in enumerate(self.by_name)}

    def by_layer(self, nodes: list[Any]) -> list[list[str]]:
        """For each layer of a compiled model the names of the products that it executes, each product once."""
        left = dict(self.by_name)
        found = [[name for name in self._named(node) if left.pop(name, None)] for node in nodes]
        for node, mine in zip(nodes, found, strict=True):
            kind, more = info(node.get_rt_info(), "layerType"), []
            if kind == "Subgraph" and len(mine) == 1:
                more = [name for name in self._scores(mine[0]) if left.pop(name, None)]
            elif not mine and kind in COMPUTE_LAYERS:
                more = [name for name, product in left.items() if _same_weights(product, node)][:1]
                left = {name: product for name, product in left.items() if name not in more}
            mine[:0] = more
        return found

    def _named(self, node: Any) -> list[str]:
        """Names of the products that a layer says it was made from, in their order; none of most layers.

        It lists what it was fused of, and not always the product: `x/MatMul/DequantizationMultiply` alone where that
        was quantized, or `x/Add` where a bias was added to it.
        """
        facts = node.get_rt_info()
        kind, names = info(facts, "layerType"), info(facts, "originalLayersNames").split(",")
        if kind not in (*COMPUTE_LAYERS, *FUSED):
            return []
        exact = sorted((name for name in names if name in self.by_name), key=self._order.__getitem__)
        if exact or kind not in COMPUTE_LAYERS:
            return exact
        return next(filter(None, map(self._owner, names)), None) or next(filter(None, map(self._above, names)), [])

    def _scores(self, name: str) -> list[str]:
        """Attention's first product, given its second: above the softmax that makes this one's weights."""
        node = self.by_name[name]
        while node.get_type_name() != "Softmax":
            node = node.input_value(0).get_node()
            if not node.get_input_size() or node.get_friendly_name() in self.by_name:
                return []
        return self._above(node.get_friendly_name())

    def _owner(self, name: str) -> list[str]:
        """The product that `name` was made from: x/MatMul of x/MatMul/DequantizationMultiply."""
        while "/" in name:
            name = name.rpartition("/")[0]
            if name in self.by_name:
                return [name]
        return []

    def _above(self, name: str) -> list[str]:
        """The one product that an operation's inputs come from by the shortest way, where it is one."""
        level = [self._operations[name]] if name in self._operations else []
        seen = {name}
        while level:
            level = [value.get_node() for node in level for value in node.input_values()]
            level = [node for node in level if node.get_friendly_name() not in seen]
            seen |= {node.get_friendly_name() for node in level}
            found = {node.get_friendly_name() for node in level} & self.by_name.keys()
            if found:
                return list(found) if len(found) == 1 else []
        return []


def matmul_above(node: Any) -> Any | None:
    """Where attention was taken apart, its first product above its second: past softmax and scales."""
    while node.get_input_size():
        node = node.input_value(0).get_node()
        if info(node.get_rt_info(), "layerType") == "MatMul":
            return node
    return None


def entering(node: Any) -> list[str]:
    """Precision of each input of a compiled layer, as the layer before it puts it out."""
    found = []
    for value in node.input_values():
        given = info(value.get_node().get_rt_info(), "outputPrecisions").split(",")
        found.append(given[min(value.get_index(), len(given) - 1)])
    return found


def _same_weights(product: Any, node: Any) -> bool:
    """Whether a layer that was renamed altogether has constants of the shape of a product's."""
    if product.get_input_size() < 2 or node.get_input_size() < 2:
        return False
    weights, constant = product.input_value(1), node.input_value(1)
    is_constant = info(constant.get_node().get_rt_info(), "layerType") == "Const"
    return is_constant and constant.get_partial_shape() == weights.get_partial_shape()

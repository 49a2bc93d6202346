"""Graphs of ONNX, written an operation at a time; tensors are float64 unless said."""

import numpy as np


class Graph:
    """What an operator of skl2onnx becomes.

    Float64 within, so that predictions agree with numpy's to 1e-5 whatever cancels: readouts of
    large features have large coefficients.

    Parameters
    ----------
    scope, operator, container
        As skl2onnx passes them to a converter.
    """

    def __init__(self, scope, operator, container):
        # skl2onnx comes with the extra, and is not loaded by those who do not export.
        from onnx import TensorProto, helper

        self._types, self._helper = TensorProto, helper
        self._scope, self._operator, self._container = scope, operator, container
        self.X = self("Cast", operator.inputs[0].full_name, to=TensorProto.DOUBLE)

    def __call__(self, operation, *inputs, **attributes):
        """Add a node; return the name of what it makes of names and of arrays."""
        made = self._scope.get_unique_variable_name(operation.lower())
        self._add(operation, inputs, made, attributes)
        return made

    def sum(self, values, axis, keepdims=False):
        """Add the sums along an axis, or several."""
        return self("ReduceSum", values, np.atleast_1d(axis), keepdims=int(keepdims))

    def as_double(self, values):
        """Add the cast of whole numbers or booleans to float64."""
        return self("Cast", values, to=self._types.DOUBLE)

    def as_single(self, values):
        """Add the cast to float32, which holds counts and is the fastest to add up."""
        return self("Cast", values, to=self._types.FLOAT)

    def as_index(self, values):
        """Add the cast to whole numbers."""
        return self("Cast", values, to=self._types.INT64)

    def forest(self, X, **attributes):
        """Add trees; arrays of whole numbers become lists, others tensors of float64."""
        for name, values in attributes.items():
            if name.endswith("_as_tensor"):
                double = self._types.DOUBLE
                attributes[name] = self._helper.make_tensor(name, double, values.shape, values)
            elif isinstance(values, np.ndarray):
                attributes[name] = values.tolist()
        found = self("TreeEnsembleRegressor", X, op_domain="ai.onnx.ml", op_version=3, **attributes)
        return self.as_double(found)  # trees answer in single precision

    def give(self, values, number=0):
        """Make values an output, of the type that the operator's has."""
        output = self._operator.outputs[number]
        kind = type(output.type).__name__
        types = {"DoubleTensorType": "DOUBLE", "Int64TensorType": "INT64"}
        self._add(
            *("Identity", [values], output.full_name, {})
            if kind == "StringTensorType"
            else ("Cast", [values], output.full_name, {"to": self._type(types.get(kind, "FLOAT"))})
        )

    def _type(self, name):
        return getattr(self._types, name)

    def _add(self, operation, inputs, output, attributes):
        names = [part if isinstance(part, str) else self.constant(part) for part in inputs]
        name = self._scope.get_unique_operator_name(operation)
        self._container.add_node(operation, names, [output], name=name, **attributes)

    def constant(self, values, real=np.float64):
        """Return the name of a constant; its real numbers are of a type."""
        values = np.asarray(values)
        if values.dtype.kind == "f":
            values = values.astype(real)
        elif values.dtype.kind in "OSU":
            values = values.astype(object)
        kind = self._helper.np_dtype_to_tensor_dtype(values.dtype)
        name = self._scope.get_unique_variable_name("constant")
        self._container.add_initializer(name, kind, values.shape, values.ravel().tolist())
        return name

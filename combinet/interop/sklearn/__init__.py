"""Models as estimators of scikit-learn, and estimators as layers."""

from combinet.extras import extra

with extra("sklearn", "sklearn"):
    from combinet.interop.sklearn.classifier import CombinetClassifier
    from combinet.interop.sklearn.regressor import CombinetRegressor
    from combinet.interop.sklearn.wrapper import SklearnWrapper

__all__ = ["CombinetClassifier", "CombinetRegressor", "SklearnWrapper"]

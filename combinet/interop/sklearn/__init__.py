"""Models as estimators of scikit-learn."""

from combinet.interop.extras import extra

with extra("sklearn", "sklearn"):
    from combinet.interop.sklearn.classifier import CombinetClassifier
    from combinet.interop.sklearn.regressor import CombinetRegressor

__all__ = ["CombinetClassifier", "CombinetRegressor"]

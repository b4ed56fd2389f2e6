"""An encoder as a step of a scikit-learn pipeline: images in, features out."""

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn


class EncoderTransformer(TransformerMixin, BaseEstimator):
    """Features of images by a frozen encoder, for scikit-learn's pipelines and searches. Fitting learns nothing.

    `make_pipeline(EncoderTransformer(encoder, shape=(1, 48, 48)), LogisticRegression())`, where
    `encoder = medgraph.load_encoder(folder)` and X is `torch.cat([encoder.preprocess(p) for p in paths]).flatten(1)`.

    Args:
        encoder: Module from (n, *shape) to (n, out_dim); used in eval mode.
        shape: Channels and size of an image; rows of X are images laid out flat. None hands rows on as they are.
        batch_size: Images encoded at once.
    """

    def __init__(self, encoder: nn.Module | None = None, shape: tuple[int, ...] | None = None, batch_size: int = 64):
        self.encoder = encoder
        self.shape = shape
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> "EncoderTransformer":
        """Check X and the parameters; learns nothing. Raises ValueError."""
        X = validate_data(self, X, dtype=np.float32)
        if self.encoder is None:
            raise ValueError("encoder: expected a module, got None. Load one by medgraph.load_encoder(path).")
        if self.shape is not None and X.shape[1] != int(np.prod(self.shape)):
            raise ValueError(
                f"shape: {self.shape} has {int(np.prod(self.shape))} values, but X has {X.shape[1]} columns."
            )
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features (n, out_dim), float32."""
        check_is_fitted(self, "n_features_in_")
        X = validate_data(self, X, dtype=np.float32, reset=False)
        assert self.encoder is not None  # fit
        self.encoder.eval()
        rows = torch.from_numpy(X).reshape(len(X), *(self.shape or (X.shape[1],)))
        with torch.no_grad():
            return torch.cat([self.encoder(part) for part in rows.split(self.batch_size)]).numpy()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]  # networks compute in it
        return tags

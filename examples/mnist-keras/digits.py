"""Handwritten digits in Keras, as the tutorials have it: this file runs by itself, and trains under Lehr as it is.

KERAS_BACKEND=torch python digits.py ../mnist/data     # by itself
lehr push examples/mnist-keras                         # under Lehr, which calls build_model
"""

import gzip
import sys
from pathlib import Path

import keras
import numpy as np


def build_model(input_shape=(28, 28), classes=10):
    model = keras.models.Sequential(
        [
            keras.layers.Flatten(input_shape=input_shape),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    return model


def read(folder, name, offset):
    return np.frombuffer(gzip.decompress((folder / f"{name}.gz").read_bytes()), np.uint8, offset=offset)


def load_data(folder):
    return [
        (
            read(folder, f"{part}-images-idx3-ubyte", 16).reshape(-1, 28, 28),
            read(folder, f"{part}-labels-idx1-ubyte", 8),
        )
        for part in ("train", "t10k")
    ]


if __name__ == "__main__":
    (x_train, y_train), (x_test, y_test) = load_data(Path(sys.argv[1]))
    x_train, x_test = x_train / 255.0, x_test / 255.0

    model = build_model()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=5)
    model.evaluate(x_test, y_test)

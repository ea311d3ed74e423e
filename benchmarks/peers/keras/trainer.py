"""Peer: Keras on TensorFlow, `model.fit` over arrays in memory, as the framework's own MNIST example does it."""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tensorflow

from benchmarks.rig.training_worker import Clock, serve

data = np.load(sys.argv[1])
tensorflow.config.threading.set_intra_op_parallelism_threads(1)
tensorflow.config.threading.set_inter_op_parallelism_threads(1)
images = data["x"].astype("float32") / 255.0


class Times(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.clock = Clock()

    def on_epoch_end(self, epoch, logs=None):
        self.found = self.clock.read()


def train(seed, batch, epochs):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss)
    times = Times()
    model.fit(images, data["y"], batch_size=batch, epochs=epochs, verbose=0, callbacks=[times])
    guesses = model.predict(data["test_x"].astype("float32") / 255.0, batch_size=1000, verbose=0).argmax(1)
    return times.found | {
        "accuracy": float((guesses == data["test_y"]).mean()),
        "parameters": int(model.count_params()),
    }


serve(train)

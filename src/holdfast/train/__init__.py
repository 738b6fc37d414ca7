"""train: fine-tunes a checkpoint on Examples, after an independent check of the loss mask.

`rows` tokenises examples and marks the supervised tokens. `mask_check` derives the same marks with a second parser and
raises on any difference. `loop` trains on the batches (`trl_engine` does the same through TRL). `run` connects them and
writes the output folder. Imports core and models only, so training code cannot read the test worlds.

    from holdfast.train.config import TrainConfig
    from holdfast.train.run import train
"""

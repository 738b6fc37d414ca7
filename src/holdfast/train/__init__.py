"""train: Examples → a fine-tuned checkpoint, after an independent gate has checked what will be supervised.

`rows` tokenises and marks, `gate` re-derives the marks with a second parser and refuses on any difference, `loop`
trains on the batches (`trl_path` does the same through TRL), `run` ties them together and writes the folder.
Imports core and models only: what is taught never sees what is tested.

    from holdfast.train.config import TrainConfig
    from holdfast.train.rows import make_rows
    from holdfast.train.loop import train_rows
"""

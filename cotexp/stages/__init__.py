"""The stages of a run, a file each; `cotexp.flow` lists them in order.

A stage has a `NAME`, a `VERSION` that is raised when its stored rows would differ, the stages that it `READS`, and `spec`, which makes its key.
One before fine-tuning has `spec(context, task)`, None if the settings do without it, and may have

* `add(context, made)`: fill in the `TrainingSet` with what it makes; in a look with what is stored. A step that stores nothing has only this.
* `model(settings)`: the model on this machine that is at work meanwhile, if one is; other devices of the machine then share the rows. `TIMED_AS`
  names another stage that its seconds count for.
* `metrics(context, made)`: what `metrics.json` says of it.
"""

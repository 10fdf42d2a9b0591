"""The stages of a run, a file each; `cotexp.flow` lists them in order.

A stage has a `NAME`, a `VERSION` that is raised when its stored rows would differ, the stages that it `READS`, and what makes its keys:

* before fine-tuning `spec(context, task)`, None if the settings do without it; `specs(context, task)`, name -> spec, where it has several;
* after fine-tuning `specs(context, mode)`, name -> spec, empty if the settings do without it.

It may have

* `add(context, made)`: fill in the `TrainingSet`, or after fine-tuning the `Evaluation`, with what it makes; in a look with what is stored. A
  step that stores nothing has only this.
* `metrics(context, made)`: what `metrics.json` says of it. Rows that are stored may be read again.
* `model(settings)`: the model on this machine that is at work meanwhile, if one is; other devices of the machine then share the rows. `TIMED_AS`
  is another name that its seconds count for.
* `BOUNDED`: its rows follow from earlier texts, so that a plan shows the most there can be. `FOLDER`: it makes a folder in place of rows.
  `IS_ARTIFACT = False`: trackers do not name it among the inputs and outputs of a run.
"""

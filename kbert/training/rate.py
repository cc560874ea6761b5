"""Learning rates that may be set, also where a schedule has them."""

from typing import Any

import keras
from keras import ops

# What is mixed into Keras's optimizers, before them: to type checkers it has
# all that they have.
Mixin: Any = object

# The rate while the schedule has it.
UNSET = -1.0


class SettableRate(Mixin):
    """An optimizer's rate is that of its schedule until it is set.

    Keras refuses to set one that has a schedule, in the middle of a run. Here
    what is set holds from then on, as it does without a schedule. It is mixed
    into optimizers of Keras, before them.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._rate_set = None
        schedule = keras.optimizers.schedules.LearningRateSchedule
        if isinstance(self._learning_rate, schedule):
            self._rate_set = self.add_variable(
                (), keras.initializers.Constant(UNSET), name="rate_set"
            )

    def _get_current_learning_rate(self):
        rate = super()._get_current_learning_rate()
        if self._rate_set is None:
            return rate
        given = ops.convert_to_tensor(self._rate_set)
        return ops.where(given == UNSET, rate, given)

    @property
    def learning_rate(self):
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, rate):
        if self._rate_set is None:
            # Not by `super()`, which has no setters.
            keras.optimizers.Optimizer.learning_rate.fset(self, rate)
        else:
            self._rate_set.assign(rate)

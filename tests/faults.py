"""All the faults that are planted into nights, by id and name; see `planted`."""

import faults_of_darks  # noqa: F401
import faults_of_flats  # noqa: F401
import faults_of_lights  # noqa: F401
from planted import FAULTS  # noqa: F401

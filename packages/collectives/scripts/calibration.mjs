// Prints the cost model beside the published figures that it was fitted to: `node packages/collectives/scripts/calibration.mjs`.
import { calibrationTable } from '@moestack/collectives/cost';

console.log(calibrationTable());

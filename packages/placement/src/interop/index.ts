export {
  type EngineFile,
  type PlanFormat,
  readEngineFile,
  readEngineFiles,
  type WritePlanOptions,
  writePlanFile,
  writeSlotsFile,
} from './engine-file.js';
export {
  activeLayers,
  type EngineLoad,
  type EngineSlots,
  engineSlots,
  fillLayers,
  planOfSlots,
  selectLayers,
  slotsOfPlan,
} from './engine-slots.js';
export type { EngineFileLimits } from './limits.js';
export {
  checkSglangSlots,
  readSglangLocation,
  type SglangLocation,
  writeSglangLocation,
  writeSglangLocationPt,
} from './sglang-location.js';
export {
  readSglangRecord,
  type SglangPass,
  type SglangRecord,
  type SglangRecordOptions,
} from './sglang-record.js';
export { SglangRecorderClient, type SglangRecorderOptions } from './sglang-recorder.js';
export { readTensorRtLlm, type TensorRtLlmBalancer, writeTensorRtLlm } from './tensorrt-llm.js';
export { readTensorRtLlmStatistics, type TensorRtLlmStatistics } from './tensorrt-llm-statistics.js';
export { readTorchFile, writeTorchFile } from './torch-file.js';
export {
  type TorchData,
  type TorchDict,
  type TorchDtype,
  TorchTensor,
  TorchTuple,
  type TorchValue,
} from './torch-values.js';
export { readVllmAscend, writeVllmAscend } from './vllm-ascend.js';
export { readVllmState, writeVllmState } from './vllm-state.js';

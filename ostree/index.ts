/** What other rooms may use of the OSTree repository and of the images stored in it. */
export { OstreeError } from './errors.ts';
export { Repository } from './repository/repository.ts';
export { lockSysroot } from './repository/lock.ts';
export { encapsulate, type EncapsulateOptions } from './encapsulate/encapsulate.ts';
export { examine, type Examination } from './fsck/examination.ts';
export { repair } from './fsck/repair.ts';
export { ImportError } from './import/errors.ts';
export { setGuardRef } from './import/guard-ref.ts';
export type { ImportProgress } from './import/import-progress.ts';
export { pruneLayers } from './import/layer-gc.ts';
export { type PulledImage, pullImage, type PullOptions } from './import/pull-image.ts';
export { listImages, readStoredImage, requireImage } from './import/stored-image.ts';
export { writeCachedUpdate } from './store/cached-update.ts';
export { copyImage } from './store/copy-image.ts';
export { compareLayers, describeLayers, type ImageComparison } from './store/image-layers.ts';
export { type PruneExtent, pruneImages } from './store/prune-images.ts';
export { removeImages } from './store/remove-images.ts';
export { checkForUpdate, type UpdateCheck } from './store/update-check.ts';

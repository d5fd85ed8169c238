/** What other rooms may use of the OSTree repository and of the images stored in it. */
export { OstreeError } from './errors.ts';
export { Repository } from './repository/repository.ts';
export { lockSysroot } from './repository/lock.ts';
export { encapsulate, type EncapsulateOptions } from './encapsulate/encapsulate.ts';
export { ImportError, type ImportErrorCode, TarError, type TarErrorCode } from './import/errors.ts';
export { setGuardRef } from './import/guard-ref.ts';
export type { ImportProgress } from './import/import-progress.ts';
export { pruneImages, type PrunedImages, type PruneImagesOptions, pruneLayers } from './import/layer-gc.ts';
export { type PulledImage, pullImage, type PullOptions } from './import/pull-image.ts';
export { type ListedImage, listImages, readStoredImage, type StoredImage } from './import/stored-image.ts';

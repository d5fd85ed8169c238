/** What other rooms may use of the OSTree repository and of the images stored in it. */
export { OstreeError } from './errors.ts';
export { Repository } from './repository/repository.ts';
export { lockSysroot } from './repository/lock.ts';
export { encapsulate, type EncapsulateOptions } from './encapsulate/encapsulate.ts';
export { ImportError } from './import/errors.ts';
export { setGuardRef } from './import/guard-ref.ts';
export type { ImportProgress } from './import/import-progress.ts';
export { pruneImages } from './import/layer-gc.ts';
export { type PulledImage, pullImage, type PullOptions } from './import/pull-image.ts';
export { listImages, readStoredImage } from './import/stored-image.ts';

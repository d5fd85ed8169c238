/** What other rooms may use of the OSTree repository and of the images stored in it. */
export type { Chunk } from './chunking/chunk.ts';
export { adviseOnLayout } from './chunking/layout-advice.ts';
export { DEFAULT_MAX_LAYERS, pack, type PackOptions } from './chunking/pack.ts';
export { layoutOf } from './chunking/previous-layout.ts';
export { templatesOf } from './chunking/templates.ts';
export { OstreeError } from './errors.ts';
export { decodeVariant } from './gvariant/decode.ts';
export { assertRefName } from './repository/ref-name.ts';
export { Repository } from './repository/repository.ts';
export { type IoPriority, setIoPriority } from './posix/io-priority.ts';
export { commitTree, type CommittedTree, type TreeSource } from './compose/commit-tree.ts';
export { lockSysroot } from './repository/lock.ts';
export type { Compression } from './encapsulate/compression/compressed-layer.ts';
export type { EncapsulateProgress } from './encapsulate/write-progress.ts';
export { parseContainerConfig } from './encapsulate/container-config.ts';
export { withFlattenedImage } from './encapsulate/flatten-image.ts';
export { type EncapsulatedImage, encapsulate, type EncapsulateOptions } from './encapsulate/encapsulate.ts';
export type { EarlierImage } from './encapsulate/earlier-layers.ts';
export { replaceDetachedMetadata } from './encapsulate/replace-detached-metadata.ts';
export { reexport } from './encapsulate/reexport.ts';
export { examine, type Examination } from './fsck/examination.ts';
export { repair } from './fsck/repair.ts';
export { ImportError } from './import/errors.ts';
export { guardDeployment } from './import/deployment-guard.ts';
export { setGuardRef } from './import/guard-ref.ts';
export { imageCommitOf } from './import/layered-packages.ts';
export type { ImportProgress } from './import/import-progress.ts';
export type { PullLimits } from './import/limited-source.ts';
export { PREPARE_ROOT_FILES, requireLastingEtc } from './import/supported-root.ts';
export { parseRootSettings } from './import/host-features.ts';
export { TransferLimit } from './import/transfer-limit.ts';
export { pruneLayers } from './import/layer-gc.ts';
export { type Unpacking } from './import/import-means.ts';
export { type PulledImage, pullImage, type PullOptions } from './import/pull-image.ts';
export { listImages, readStoredImage, requireImage } from './import/stored-image.ts';
export { componentsOf } from './packages/components.ts';
export {
  chunksAsContentMetadata,
  componentsFromContentMetadata,
  parseContentMetadata,
} from './packages/content-metadata.ts';
export { writeCachedUpdate } from './store/cached-update.ts';
export { copyImage } from './store/copy-image.ts';
export { fetchPackages, type FetchProgress } from './packages/image-packages.ts';
export type { InstalledPackage } from './packages/installed-package.ts';
export { comparePackages, type PackageChanges } from './packages/package-changes.ts';
export { readPackages } from './packages/package-databases.ts';
export { compareContent, type ContentDifference } from './store/content-difference.ts';
export { compareLayers, describeLayers, type DescribedLayer, type ImageComparison } from './store/image-layers.ts';
export { type PruneExtent, pruneImages } from './store/prune-images.ts';
export { removeImages } from './store/remove-images.ts';
export { checkForUpdate, type UpdateCheck } from './store/update-check.ts';

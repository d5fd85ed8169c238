/** A destination that keeps nothing: to know what an image would be without writing it anywhere. */
import type { ImageDestination } from './image-source.ts';
import { manifestBlob } from './layout-index.ts';
import type { ImageManifest } from './oci.ts';

export class DiscardingDestination implements ImageDestination {
  async hasBlob(): Promise<boolean> {
    return false;
  }

  async putBlob(): Promise<void> {}

  /** The digest that any other destination would give it. */
  async putManifest(manifest: ImageManifest): Promise<string> {
    return manifestBlob(manifest).descriptor.digest;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

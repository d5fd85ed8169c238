/** Brings blobs from one repository to another: mounted where they are neighbours, else streamed, verified on both sides. */
import type { BlobReadOptions } from '../image-source.ts';
import type { Descriptor } from '../oci.ts';
import { atOnce } from './at-once.ts';
import type { DestinationRepository, SourceRepository } from './repository.ts';

/** Reads a blob no faster, and together with no more others, than is allowed. */
export type LimitTransfer = (
  open: (counting: BlobReadOptions) => AsyncIterable<Buffer>,
  options: BlobReadOptions,
) => AsyncIterable<Buffer>;

export interface MirrorProgress {
  readonly blobsDone: number;
  readonly blobsTotal: number;
  /** Compressed, as transferred. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export interface BlobCopyOptions {
  readonly limitTransfer: LimitTransfer;
  readonly blobsAtOnce: number;
  readonly onProgress: (progress: MirrorProgress) => void;
  readonly signal?: AbortSignal;
}

export async function copyBlobs(
  source: SourceRepository,
  destination: DestinationRepository,
  blobs: readonly Descriptor[],
  options: BlobCopyOptions,
): Promise<{ readonly mounted: number; readonly bytes: number }> {
  const { onProgress, blobsAtOnce, limitTransfer, signal } = options;
  const [blobsTotal, bytesTotal] = [blobs.length, totalSize(blobs)];
  let [blobsDone, bytesDone, bytes, mounted] = [0, 0, 0, 0];
  const report = (): void => onProgress({ blobsDone, blobsTotal, bytesDone, bytesTotal });
  report();
  const transfer = async (blob: Descriptor): Promise<void> => {
    let arrived = 0;
    const onBytes = (count: number): void => {
      // What has to be sent a second time is no progress.
      const fresh = Math.max(0, Math.min(count, blob.size - arrived));
      arrived += count;
      bytesDone += fresh;
      bytes += count;
      report();
    };
    const reading = { onBytes, ...(signal === undefined ? {} : { signal }) };
    const open = (counting: BlobReadOptions) => source.openBlob(blob, counting);
    await destination.putBlob(blob, () => limitTransfer(open, reading), signal);
  };
  // The largest first: the last one alone would leave the others' places empty.
  const ordered = blobs.toSorted((a, b) => b.size - a.size);
  await atOnce(blobsAtOnce, ordered, async (blob) => {
    if (await destination.mountBlob(blob, signal)) {
      mounted += 1;
      bytesDone += blob.size;
    } else await transfer(blob);
    blobsDone += 1;
    report();
  });
  return { mounted, bytes };
}

export function totalSize(blobs: readonly Descriptor[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0);
}

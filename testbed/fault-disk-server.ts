/**
 * The process behind a fault disk: IMAGE LOG MOUNTPOINT NAMESPACE-PID. Serves IMAGE as one file through FUSE, appends
 * what is written to LOG, fails when told to. A process of its own, because whoever uses the disk waits for it.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, openSync, read, readSync, writeSync } from 'node:fs';
import type { DiskEvent } from './disk-log.ts';
import type { DiskAnswer, DiskOrder } from './fault-disk.ts';
import {
  attributesReply,
  decodeRequest,
  failure,
  initReply,
  openReply,
  reply,
  REQUEST_BYTES,
  unsupported,
  writeReply,
} from './fuse-protocol.ts';

const EIO = 5;

class Disk {
  readonly #image: number;
  readonly #log: number;
  readonly #events: DiskEvent[] = [];
  #logged = 0;
  /** Writes and flushes until the disk fails, and how many fail; infinite if never, or for good. */
  #healthyFor = Infinity;
  #failing = 0;

  constructor(imagePath: string, logPath: string) {
    this.#image = openSync(imagePath, 'r+');
    this.#log = openSync(logPath, 'w');
  }

  obey(order: DiskOrder): DiskAnswer {
    switch (order.kind) {
      case 'fail':
        this.#healthyFor = order.after;
        this.#failing = order.times ?? Infinity;
        break;
      case 'heal':
        this.#healthyFor = Infinity;
        break;
      case 'report':
        return { events: this.#events };
      case 'count':
        break;
    }
    return { events: this.#events.length };
  }

  /** The answer to one request, or undefined if it wants none. */
  answer(message: Buffer): Buffer | undefined {
    const request = decodeRequest(message);
    switch (request.kind) {
      case 'silent':
        return undefined;
      case 'unsupported':
        return unsupported(request.unique);
      case 'init':
        return reply(request.unique, initReply(request.maxReadahead, request.flags));
      case 'attributes':
        return reply(request.unique, attributesReply(fstatSync(this.#image).size));
      case 'open':
        return reply(request.unique, openReply());
      case 'acknowledge':
      case 'destroy':
        return reply(request.unique);
      case 'read': {
        const bytes = Buffer.alloc(request.size);
        const length = readSync(this.#image, bytes, 0, request.size, request.offset);
        return reply(request.unique, bytes.subarray(0, length));
      }
      case 'write':
        if (this.#isFailing()) return failure(request.unique, EIO);
        this.#write(request.offset, request.data);
        return reply(request.unique, writeReply(request.data.length));
      case 'fsync':
        if (this.#isFailing()) return failure(request.unique, EIO);
        this.#events.push({ kind: 'flush' });
        return reply(request.unique);
    }
  }

  #write(offset: number, data: Buffer): void {
    writeSync(this.#image, data, 0, data.length, offset);
    writeSync(this.#log, data, 0, data.length, this.#logged);
    this.#events.push({ kind: 'write', offset, length: data.length, position: this.#logged });
    this.#logged += data.length;
  }

  #isFailing(): boolean {
    if (this.#healthyFor > 0) {
      this.#healthyFor--;
      return false;
    }
    if (this.#failing <= 0) return false;
    this.#failing--;
    return true;
  }
}

function serve(device: number, disk: Disk): void {
  const buffer = Buffer.alloc(REQUEST_BYTES);
  const next = (): void => {
    read(device, buffer, 0, buffer.length, null, (error, length) => {
      if (error !== null) {
        // ENODEV: it was unmounted, which is the end. The others: a request was taken back before we had it.
        if (error.code === 'ENODEV') process.exit(0);
        if (error.code !== 'EINTR' && error.code !== 'EAGAIN' && error.code !== 'ENOENT') throw error;
      } else {
        const answer = disk.answer(buffer.subarray(0, length));
        if (answer !== undefined) send(answer);
      }
      next();
    });
  };
  const send = (answer: Buffer): void => {
    try {
      writeSync(device, answer);
    } catch (error) {
      // Whoever asked has been killed meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  };
  next();
}

const [image = '', log = '', mountPoint = '', namespace = ''] = process.argv.slice(2);
const disk = new Disk(image, log);
const device = openSync('/dev/fuse', constants.O_RDWR);
const options = 'fd=3,rootmode=100600,user_id=0,group_id=0';
const mounted = spawnSync(
  'nsenter',
  ['--target', namespace, '--mount', 'mount', '-i', '-t', 'fuse', '-o', options, 'fault-disk', mountPoint],
  { stdio: ['ignore', 'inherit', 'inherit', device] },
);
if (mounted.status !== 0) {
  closeSync(device);
  process.exit(1);
}
process.on('message', (order: DiskOrder) => process.send?.(disk.obey(order)));
// Who started us is gone, and nobody can tell us anything any more.
process.on('disconnect', () => process.exit(0));
serve(device, disk);
process.send?.({ events: 0 } satisfies DiskAnswer);

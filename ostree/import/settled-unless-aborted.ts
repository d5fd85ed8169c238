/** Waiting for what another task does, without outlasting the whole. */

/** Resolves when `promise` does. @throws what it throws, or the signal's reason as soon as that is aborted */
export async function settledUnlessAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    signal.throwIfAborted();
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

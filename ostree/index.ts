/** What other rooms may use of the OSTree repository and of the images stored in it. */
export { OstreeError, type OstreeErrorCode } from './errors.ts';
export { Repository } from './repository/repository.ts';
export { Transaction } from './repository/transaction.ts';
export { lockSysroot, type HeldLock, type LockOptions } from './repository/lock.ts';
export { TreeDirectory } from './tree/tree-directory.ts';
export { escapeRefPath, unescapeRefPath } from './repository/ref-name.ts';
export { encapsulate, type EncapsulatedImage, type EncapsulateOptions } from './encapsulate/encapsulate.ts';

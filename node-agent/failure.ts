/** Turns whatever went wrong into the `reason` and `message` that `status.lastOrder` carries. */
import type { Fault } from '../api/index.ts';
import { messageOf } from './errors.ts';

export interface Failure {
  /** One CamelCase word for programs. */
  readonly reason: string;
  /** One sentence for the person on call. */
  readonly message: string;
  /** Who has to do something about it. */
  readonly fault: Fault;
}

/** The API's limit on `lastOrder.message`. */
const MAX_MESSAGE_CHARS = 4096;

/** Codes that say more with the party they speak of; every other code is its own reason. */
const REASONS: Readonly<Record<string, string>> = {
  Unreachable: 'RegistryUnreachable',
  ServerError: 'RegistryUnreachable',
  RateLimited: 'RegistryRateLimited',
  Unauthorized: 'RegistryUnauthorized',
  Forbidden: 'RegistryForbidden',
  NotFound: 'ImageNotFound',
  NoPlatform: 'WrongArchitecture',
  NoSpace: 'DiskFull',
  ReadOnly: 'RepositoryReadOnly',
};

/** Errors of the operating system that came through undressed. */
const SYSTEM_REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'DiskFull',
  EDQUOT: 'DiskFull',
  EROFS: 'RepositoryReadOnly',
  EACCES: 'PermissionDenied',
  EPERM: 'PermissionDenied',
};

/** Codes of errors that every node would meet with this image, whatever it is asked from. */
const FAULTS_OF_THE_IMAGE: ReadonlySet<string> = new Set([
  'NotFound',
  'NoPlatform',
  'InvalidReference',
  'UnsupportedMediaType',
  'InvalidManifest',
  'InvalidConfig',
  'TooLarge',
  'DigestMismatch',
  'SizeMismatch',
  'NotOstreeImage',
  'InvalidImage',
  'NotBootable',
  'UnsupportedRoot',
  'WrongArchitecture',
  'InvalidLayer',
  'InvalidKernelArguments',
  'InvalidPolicy',
  'UnsupportedVerification',
  'SignatureMissing',
  'SignatureRefused',
  'SignatureRevoked',
]);

const FAULTS_OF_THE_REGISTRY: ReadonlySet<string> = new Set([
  'Unauthorized',
  'Forbidden',
  'InvalidCredentials',
  'PullSecretInvalid',
  'Unreachable',
  'UntrustedCertificate',
  'RateLimited',
  'ServerError',
  'UnexpectedResponse',
  'UnsafeRedirect',
  'RangeUnsupported',
  'WrongMirror',
  'KubernetesFailed',
]);

/** Every room's errors carry a code of one CamelCase word; an error that nobody foresaw is `InternalError`. Never throws. */
export function failureOf(error: unknown): Failure {
  const message = messageOf(error).slice(0, MAX_MESSAGE_CHARS);
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const ours = /^[A-Z][a-z][A-Za-z0-9]*$/.test(code) ? code : 'InternalError';
  return { reason: REASONS[code] ?? SYSTEM_REASONS[code] ?? ours, message, fault: faultOf(code) };
}

/** What nobody foresaw counts as the node's: it alone must not park a fleet. */
function faultOf(code: string): Fault {
  if (FAULTS_OF_THE_IMAGE.has(code)) return 'Image';
  return FAULTS_OF_THE_REGISTRY.has(code) ? 'Registry' : 'Node';
}

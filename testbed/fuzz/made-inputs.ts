/** Inputs of a corpus that are made when it is read: private keys, which are nothing to keep. */
import { newKeyPair } from '../signing-keys.ts';

export const MADE_INPUTS: Readonly<Record<string, () => Buffer>> = {
  'private-key': () => Buffer.from(newKeyPair('Ed25519').privateKey),
};

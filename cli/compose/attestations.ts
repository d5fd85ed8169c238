/** What is put beside an image: its provenance, signed if there is a key, and the log of its build. */
import { attachArtifact, type Descriptor, type RegistryName, type RegistryOptions } from '../../registry/index.ts';
import { ENVELOPE_MEDIA_TYPE, signEnvelope, type SigningKey } from '../../registry/signatures/index.ts';
import { type BuildFacts, provenance, STATEMENT_MEDIA_TYPE } from './provenance.ts';

const LOG_TYPE = 'application/vnd.treeline.build-log.v1+text';

export interface Attested extends Omit<BuildFacts, 'name' | 'digest'> {
  /** Lines that the builder wrote. */
  readonly log: readonly string[];
}

/** Throws RegistryError. */
export async function attest(
  { host, repository }: RegistryName,
  subject: Descriptor,
  attested: Attested,
  key: SigningKey | undefined,
  registry: RegistryOptions,
  signal: AbortSignal,
): Promise<void> {
  const image = { host, repository };
  const statement = provenance({ ...attested, name: `${host}/${repository}`, digest: subject.digest });
  const provenanceArtifact = {
    type: STATEMENT_MEDIA_TYPE,
    title: 'provenance.json',
    annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v1' },
    ...(key === undefined
      ? { mediaType: STATEMENT_MEDIA_TYPE, bytes: statement }
      : { mediaType: ENVELOPE_MEDIA_TYPE, bytes: signEnvelope(key, STATEMENT_MEDIA_TYPE, statement) }),
  };
  await attachArtifact(image, subject, provenanceArtifact, registry, signal);
  if (attested.log.length === 0) return;
  const bytes = Buffer.from(`${attested.log.join('\n')}\n`);
  const log = { type: LOG_TYPE, title: 'build.log', mediaType: 'text/plain', bytes };
  await attachArtifact(image, subject, log, registry, signal);
}

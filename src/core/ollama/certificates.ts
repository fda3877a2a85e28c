import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as tls from 'node:tls';

export interface CertificateFiles {
  /** From the settings. */
  caFile: string | undefined;
  /** NODE_EXTRA_CA_CERTS. */
  extraFile: string | undefined;
}

/** Whom to trust: Node's own list, the system's, and the files. What cannot be read goes to `onProblem`. */
export function trustedContext(
  { caFile, extraFile }: CertificateFiles,
  onProblem: (message: string) => void,
): tls.SecureContext {
  const files = [
    caFile ? readFile(caFile, onProblem) : [],
    // Node itself says nothing when that file is missing.
    extraFile ? readFile(extraFile, () => {}) : [],
  ];
  return tls.createSecureContext({
    ca: [...tls.rootCertificates, ...systemCertificates(), ...files.flat()],
  });
}

/** Node 22.15 and later know the system's list. */
function systemCertificates(): string[] {
  const { getCACertificates } = tls as Partial<typeof tls>;
  try {
    return getCACertificates?.('system') ?? [];
  } catch {
    return [];
  }
}

function readFile(path: string, onProblem: (message: string) => void): string[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    onProblem(`The certificate file ${path} cannot be read (${code}). It is ignored.`);
    return [];
  }
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const valid = blocks.filter(isCertificate);
  if (valid.length === 0)
    onProblem(`The file ${path} holds no certificate in PEM form. It is ignored.`);
  else if (valid.length < blocks.length)
    onProblem(`Some certificates of the file ${path} are damaged. Those are ignored.`);
  return valid;
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem);
    return true;
  } catch {
    return false;
  }
}

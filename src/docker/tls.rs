//! TLS to the engine, with the files of `DOCKER_CERT_PATH`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::Error;

/// Who the engine must be, and who we are.
#[derive(Clone)]
pub(super) struct Tls {
    folder: PathBuf,
    config: TlsConfig,
}

impl Tls {
    /// Reads `ca.pem`, which must be there, and `cert.pem` with `key.pem`, where the engine wants
    /// to know its clients.
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let roots = certificates(&folder.join("ca.pem"))?;
        let mut config = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots));
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        if cert.exists() || key.exists() {
            let own = ClientCert::new_with_certs(&certificates(&cert)?, private_key(&key)?);
            config = config.client_cert(Some(own));
        }
        Ok(Self { folder: folder.to_owned(), config: config.build() })
    }

    pub(super) fn config(&self) -> TlsConfig {
        self.config.clone()
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.folder == other.folder
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        write!(f, "Tls({})", self.folder.display())
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let certificates: Vec<_> = items(path)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Error::invalid(format!("{} holds no certificate", path.display())));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, Error> {
    let key = items(path)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    key.ok_or_else(|| Error::invalid(format!("{} holds no private key", path.display())))
}

fn items(path: &Path) -> Result<Vec<PemItem<'static>>, Error> {
    let pem = fs::read(path).map_err(|error| {
        Error::io(format!("cannot read {}, which TLS to the engine takes", path.display()), error)
    })?;
    parse_pem(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::invalid(format!("{} is no PEM file: {error}", path.display())))
}

//! TLS to the engine, with the files of `DOCKER_CERT_PATH`.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::Error;
use crate::poller::Readiness;

/// The CA that signed the engine's certificate, and the client certificate.
#[derive(Clone)]
pub(crate) struct TlsFiles {
    folder: PathBuf,
    config: TlsConfig,
}

impl TlsFiles {
    /// Reads `ca.pem`, which is required, and the client certificate `cert.pem` with `key.pem`,
    /// which are optional.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let roots = certificates(&folder.join("ca.pem"))?;
        let mut config = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots));
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        if cert.exists() || key.exists() {
            let own = ClientCert::new_with_certs(&certificates(&cert)?, private_key(&key)?);
            config = config.client_cert(Some(own));
        }
        Ok(Self { folder: folder.to_owned(), config: config.build() })
    }

    /// The TLS settings for connections made without ureq. `name` is the engine's host name.
    pub(crate) fn handshake(&self, name: &str) -> io::Result<TlsHandshake> {
        let der = |certificate: &Certificate<'_>| CertificateDer::from(certificate.der().to_vec());
        let mut roots = RootCertStore::empty();
        if let RootCerts::Specific(certificates) = self.config.root_certs() {
            roots.add_parsable_certificates(certificates.iter().map(der));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(invalid)?
            .with_root_certificates(roots);
        let config = match self.config.client_cert() {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = own.private_key().der().to_vec();
                let key = PrivateKeyDer::try_from(key).map_err(invalid)?;
                let chain = own.certs().iter().map(der).collect();
                builder.with_client_auth_cert(chain, key).map_err(invalid)?
            }
        };
        let name = ServerName::try_from(name.to_owned()).map_err(invalid)?;
        Ok(TlsHandshake { config: Arc::new(config), name })
    }

    pub(crate) fn config(&self) -> TlsConfig {
        self.config.clone()
    }
}

impl PartialEq for TlsFiles {
    fn eq(&self, other: &Self) -> bool {
        self.folder == other.folder
    }
}

impl Eq for TlsFiles {}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the key.
        write!(f, "TlsFiles({})", self.folder.display())
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Starts TLS on non-blocking sockets.
#[derive(Clone, Debug)]
pub(crate) struct TlsHandshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsHandshake {
    /// Starts TLS on `socket`. The handshake happens when the first bytes are sent.
    pub(crate) fn over(&self, socket: OwnedFd) -> io::Result<TlsConnection> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let connection = connection.map_err(invalid)?;
        Ok(TlsConnection(StreamOwned::new(connection, TcpStream::from(socket))))
    }
}

/// A non-blocking TLS connection.
#[derive(Debug)]
pub(crate) struct TlsConnection(StreamOwned<ClientConnection, TcpStream>);

impl TlsConnection {
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    pub(crate) fn recv(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }

    /// Whether decrypted bytes are waiting to be read.
    pub(crate) fn has_more(&self) -> bool {
        !self.0.conn.wants_read()
    }

    /// What TLS waits for.
    pub(crate) fn interest(&self) -> Readiness {
        if self.0.conn.wants_write() { Readiness::Write } else { Readiness::Read }
    }
}

impl AsFd for TlsConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.sock.as_fd()
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
        return Err(Error::invalid(format!("{} contains no certificate", path.display())));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, Error> {
    let key = items(path)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    key.ok_or_else(|| Error::invalid(format!("{} contains no private key", path.display())))
}

fn items(path: &Path) -> Result<Vec<PemItem<'static>>, Error> {
    let pem = fs::read(path).map_err(|error| {
        Error::io(format!("cannot read {}, which TLS to the engine needs", path.display()), error)
    })?;
    parse_pem(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::invalid(format!("{} is not a PEM file: {error}", path.display())))
}

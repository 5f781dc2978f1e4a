//! The diagnostic report: document, canonical form and PDF

//! How objects come in: from devices by C-STORE, from carts and shares by folder.

pub mod dimse;
pub mod folder;

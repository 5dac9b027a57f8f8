//! Whose launches and notices they are, found out from process trees as agents make them: conversations that are cleared
//! and resumed, servers that outlive that, agents in agents, environments that are bare.
//!
//! Owns one file per part; each test names one promise. The agents are scripted; everything else is the real binary.

mod agent;
mod drill;
mod leases;
mod moved;
mod nested;
mod surroundings;
mod waiters;

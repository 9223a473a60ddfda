"""Real clusters for tests, faults to put them through, and a judge of what their clients saw.

C{process}, C{members}, C{gateways} and C{proxy} are the processes and the links between them, C{worlds} puts
them together and C{nemesis} breaks them; C{clocks} has some of them go by a wrong time.  C{clients},
C{keepers} and C{watches} use them meanwhile, and C{workload} runs it all.  C{histories}, C{linearizability},
C{events} and C{lifetimes} are pure: what was seen, and whether a v2 server may show that.
"""

# Judges SPF by Mail::SPF: the resolver's port as argument; on standard input a line `domain address` for each question,
# on standard output the result for each.
use strict;
use warnings;
use Mail::SPF;
use Net::DNS::Resolver;

my $resolver = Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $ARGV[0], recurse => 1, udp_timeout => 5);
my $server = Mail::SPF::Server->new(dns_resolver => $resolver, max_void_dns_lookups => 2);
while (my $line = <STDIN>) {
    my ($domain, $address) = split ' ', $line;
    my $request = Mail::SPF::Request->new(
        versions => [1], scope => 'mfrom', identity => "postmaster\@$domain", ip_address => $address,
    );
    print $server->process($request)->code, "\n";
}

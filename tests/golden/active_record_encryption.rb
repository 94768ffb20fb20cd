# Active Record's documented scheme, by Ruby's own OpenSSL: AES-256-GCM, key from PBKDF2, zlib over 140 bytes.
require 'openssl'; require 'json'; require 'zlib'; require 'base64'
def encrypt(text, primary, salt, digest)
  key = OpenSSL::PKCS5.pbkdf2_hmac(primary, salt, 2**16, 32, OpenSSL::Digest.new(digest))
  compressed = text.bytesize > 140
  data = compressed ? Zlib::Deflate.deflate(text) : text
  cipher = OpenSSL::Cipher.new('aes-256-gcm').encrypt
  cipher.key = key
  iv = cipher.random_iv
  cipher.auth_data = ''
  payload = cipher.update(data) + cipher.final
  headers = { 'iv' => Base64.strict_encode64(iv), 'at' => Base64.strict_encode64(cipher.auth_tag) }
  headers['c'] = true if compressed
  JSON.generate({ 'p' => Base64.strict_encode64(payload), 'h' => headers })
end
pem = OpenSSL::PKey::RSA.new(2048).to_pem
cases = [['short', 'SHA256'], [pem, 'SHA256'], [pem, 'SHA1'], ['ünïcödé', 'SHA256']].map do |text, digest|
  primary, salt = OpenSSL::Random.random_bytes(16).unpack1('H*'), OpenSSL::Random.random_bytes(16).unpack1('H*')
  { 'text' => text, 'digest' => digest, 'primary_key' => primary, 'salt' => salt, 'column' => encrypt(text, primary, salt, digest) }
end
puts JSON.pretty_generate(cases)

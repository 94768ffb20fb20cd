# Worker classes with Mastodon's names. Each records its arguments, then does what Mastodon's does: stores a file under a
# new name and fills the row's columns. Run by test_engines.py in a real Sidekiq.
require 'fileutils'
require 'sidekiq'

def sql(statement)
  system(ENV.fetch('PSQL'), '-q', '-h', ENV.fetch('PGHOST'), '-U', 'postgres', '-d', ENV.fetch('DB'), '-c', statement) or raise 'psql'
end

def fill(table, attachment, folder, id)
  name = format('%016x.png', id % 0xffffffff)
  digits = id.to_s.rjust(id < 1_000_000_000 ? 9 : 12, '0')
  path = File.join(ENV.fetch('ROOT'), 'cache', folder, digits.scan(/\d{3}/), 'original', name)
  FileUtils.mkdir_p(File.dirname(path))
  File.binwrite(path, 'fetched')
  sql("UPDATE #{table} SET #{attachment}_file_name = '#{name}', #{attachment}_content_type = 'image/x', " \
      "#{attachment}_file_size = 7, #{attachment}_storage_schema_version = 1 WHERE id = #{id}")
end

def record(name, id)
  File.open(ENV.fetch('RECORD'), 'a') { |file| file.flock(File::LOCK_EX); file.puts("#{name} #{id}") }
end

class RedownloadAvatarWorker
  include Sidekiq::Worker
  sidekiq_options queue: 'pull', retry: 7

  def perform(id)
    record(self.class.name, id)
    fill('accounts', 'avatar', 'accounts/avatars', id)
  end
end

class RedownloadHeaderWorker
  include Sidekiq::Worker
  sidekiq_options queue: 'pull', retry: 7

  def perform(id)
    record(self.class.name, id)
    fill('accounts', 'header', 'accounts/headers', id)
  end
end

class RedownloadMediaWorker
  include Sidekiq::Worker
  sidekiq_options queue: 'pull', retry: 3

  def perform(id)
    record(self.class.name, id)
    fill('media_attachments', 'file', 'media_attachments/files', id)
  end
end
